"""The artist's pen: shapes as complex numbers, drawn on the layers of a picture.

In: outlines and paths in a frame of the artist's choice. Out: three layers that `drawing.py` composes. Points are complex, with the
imaginary axis down, so that to turn or scale a shape is to multiply it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from components.download.sources.scenery import Colour

Points = NDArray[np.complex128]

SUPERSAMPLING = 2
OUTLINE_WIDTH = 0.05
# Share of the fur's colour out of 255. Zero would be read as "no animal here".
OUTLINE_TONE = 96


def trace_oval(centre: complex, half_width: float, half_height: float, num_points: int = 28) -> Points:
    """Return the outline of an ellipse that is not turned."""
    angles = np.linspace(0, 2 * np.pi, num_points, endpoint=False)
    return centre + half_width * np.cos(angles) + 1j * half_height * np.sin(angles)


def list_points(*points: complex) -> Points:
    """Return the given points as one array."""
    return np.array(points, dtype=np.complex128)


def trace_line(start: complex, end: complex, num_points: int = 6) -> Points:
    """Return evenly spaced points from `start` to `end`."""
    return start + (end - start) * np.linspace(0, 1, num_points, dtype=np.complex128)


def trace_curve(corners: Points, num_steps: int = 6) -> Points:
    """Return the closed Catmull-Rom curve through `corners`."""
    before, after, beyond = np.roll(corners, 1), np.roll(corners, -1), np.roll(corners, -2)
    t = np.arange(num_steps)[:, None] / num_steps
    curve = corners + t / 2 * (
        after - before + t * (2 * before - 5 * corners + 4 * after - beyond + t * (3 * (corners - after) + beyond - before))
    )
    return curve.T.ravel()


def trace_limb(path: Points, half_widths: NDArray[np.float64]) -> Points:
    """Return the outline of a limb that follows `path` with the given half widths."""
    along = np.gradient(path)
    offset = 1j * along / np.maximum(np.abs(along), 1e-9) * half_widths
    return np.concatenate([path + offset, (path - offset)[::-1]])


@dataclass(frozen=True)
class Pen:
    """Draws shapes of one frame on the layers of a picture: fur relief, coat colours and painted details.

    Relief and details are supersampled for smooth edges. The coat needs none, because the relief's edge cuts it out.
    """

    relief: Image.Image
    coat: Image.Image
    details: Image.Image
    origin: complex
    turn: complex
    mirror: bool

    def move(self, origin: complex, turn: complex) -> Pen:
        """Return a pen whose frame lies at `origin` of this one, turned and scaled by `turn`."""
        return replace(self, origin=self.origin + self.turn * origin, turn=self.turn * turn)

    def _place(self, points: Points, scale: int) -> list[tuple[float, float]]:
        placed = self.origin + self.turn * points
        across = self.coat.width - placed.real if self.mirror else placed.real
        return list(zip((scale * across).tolist(), (scale * placed.imag).tolist(), strict=True))

    def _width(self, width: float) -> int:
        return max(2, round(SUPERSAMPLING * width * abs(self.turn)))

    def fur(self, outline: Points, tone: int, *, closed: bool = True) -> None:
        """Cover the inside of `outline` with fur of the given tone; a limb that is not closed grows out of what is behind its root."""
        placed = self._place(outline, SUPERSAMPLING)
        draw = ImageDraw.Draw(self.relief)
        draw.polygon(placed, tone)
        draw.line([*placed, placed[0]] if closed else placed, OUTLINE_TONE, self._width(OUTLINE_WIDTH))

    def dye(self, outline: Points, colour: Colour) -> None:
        """Colour the coat inside `outline`; shows where there is fur."""
        ImageDraw.Draw(self.coat).polygon(self._place(outline, 1), colour)

    def paint(self, outline: Points, colour: Colour) -> None:
        """Paint the inside of `outline` over all fur."""
        ImageDraw.Draw(self.details).polygon(self._place(outline, SUPERSAMPLING), (*colour, 255))

    def stroke(self, path: Points, colour: Colour, width: float) -> None:
        """Paint a line along `path`, `width` head radii wide."""
        ImageDraw.Draw(self.details).line(self._place(path, SUPERSAMPLING), (*colour, 255), self._width(width))
