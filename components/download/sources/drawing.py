"""The artist: draws one cartoon cat or dog as if it had been photographed.

In: an `Anatomy` (what the animal may look like) and a random generator. Out: an RGB photo. The repository cannot ship photos, so these
stand in for them; they are hard enough that a classifier has to look at shapes, because all but the anatomy is drawn from
distributions that every class shares.

Points are complex numbers in the animal's own frame: the head is the unit circle around 0, the real axis points to where the animal
faces and the imaginary axis down, so that to turn a shape is to multiply it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageDraw

from components.download.sources.anatomy import COATS, Anatomy, Animal, draw_animal
from components.download.sources.scenery import Colour, add_occluders, draw_background, draw_size, pick, take_photo

Points = NDArray[np.complex128]

SUPERSAMPLING = 2
OUTLINE_WIDTH = 0.05
HEAD_HEIGHT = 0.96

# Tones of fur, as shares of its colour out of 255. Zero would be read as "no animal here".
OUTLINE_TONE, FAR_TONE, BODY_TONE, EAR_TONE, HEAD_TONE, MUZZLE_TONE = 96, 186, 222, 214, 246, 255

INK: Colour = (34, 28, 30)
PINK: Colour = (214, 134, 132)
INNER_EARS: tuple[Colour, ...] = (PINK, (196, 138, 130), (150, 96, 96), (226, 172, 160))
NOSES: tuple[Colour, ...] = ((34, 28, 30), (34, 28, 30), (84, 56, 50), (120, 72, 68))
IRISES: tuple[Colour, ...] = ((96, 62, 38), (70, 48, 36), (176, 132, 50), (116, 142, 70), (110, 150, 178))


def _oval(centre: complex, half_width: float, half_height: float, num_points: int = 28) -> Points:
    angles = np.linspace(0, 2 * np.pi, num_points, endpoint=False)
    return centre + half_width * np.cos(angles) + 1j * half_height * np.sin(angles)


def _smooth(corners: Points, num_steps: int = 6) -> Points:
    """Return the closed Catmull-Rom curve through `corners`."""
    before, after, beyond = np.roll(corners, 1), np.roll(corners, -1), np.roll(corners, -2)
    t = np.arange(num_steps)[:, None] / num_steps
    curve = corners + t / 2 * (
        after - before + t * (2 * before - 5 * corners + 4 * after - beyond + t * (3 * (corners - after) + beyond - before))
    )
    return curve.T.ravel()


def _limb(path: Points, half_widths: Points | NDArray[np.float64]) -> Points:
    """Return the outline of a limb that follows `path` with the given half widths."""
    along = np.gradient(path)
    offset = 1j * along / np.maximum(np.abs(along), 1e-9) * half_widths
    return np.concatenate([path + offset, (path - offset)[::-1]])


@dataclass(frozen=True)
class Ear:
    """One ear: its outline (base at 0, one ear length long), where it grows on the head, how far it leans and whether it hangs in front."""

    outline: Points
    base: complex
    lean: float
    in_front: bool


EARS: dict[str, Ear] = {
    "pointed": Ear(np.array([-0.46 + 0.3j, -0.3 - 0.4j, -0.04 - 0.98j, 0.04 - 0.98j, 0.32 - 0.4j, 0.46 + 0.3j]), 0.56 - 0.68j, 0.32, False),
    "rounded": Ear(np.array([-0.42 + 0.3j, -0.44 - 0.4j, -0.2 - 0.9j, 0.2 - 0.9j, 0.44 - 0.4j, 0.42 + 0.3j]), 0.58 - 0.68j, 0.4, False),
    "folded": Ear(
        np.array([-0.42 + 0.3j, -0.34 - 0.32j, 0.1 - 0.56j, 0.5 - 0.4j, 0.74 + 0.16j, 0.5 + 0.3j, 0.2 + 0.1j]), 0.56 - 0.7j, 0.2, True
    ),
    "hanging": Ear(
        np.array([-0.2 - 0.08j, 0.2 - 0.14j, 0.42 + 0.3j, 0.42 + 0.8j, 0.16 + 1.06j, -0.12 + 0.84j, -0.14 + 0.3j]),
        0.76 - 0.56j,
        -0.16,
        True,
    ),
}


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


# Each pattern returns the outlines to be dyed in the marking colour. They cover the animal's whole frame: the relief cuts them out.
def _stripe(rng: np.random.Generator) -> list[Points]:
    reach = np.linspace(-1, 1, 7)
    slant = np.exp(1j * rng.uniform(1.2, 1.9))
    starts = [complex(x, y) for y in (-0.8, 1.6, 3.2) for x in np.arange(-5, 3, 0.55) + rng.uniform(-0.15, 0.15)]
    return [_limb(start + slant * 0.7 * reach + 0.12 * reach**2, 0.11 * (1 - reach**2) + 0.01) for start in starts]


def _patch(rng: np.random.Generator) -> list[Points]:
    centres = rng.uniform(-5, 2, 9) + 1j * rng.uniform(-1, 4, 9)
    return [
        _smooth(centre + rng.uniform(0.5, 1.1) * np.exp(2j * np.pi * np.arange(6) / 6) * rng.uniform(0.7, 1.2, 6)) for centre in centres
    ]


def _spot(rng: np.random.Generator) -> list[Points]:
    centres = rng.uniform(-5, 2, 70) + 1j * rng.uniform(-1, 4.5, 70)
    return [_oval(centre, *rng.uniform(0.07, 0.2, 2), num_points=8) for centre in centres]


PATTERNS: dict[str, Callable[[np.random.Generator], list[Points]]] = {
    "plain": lambda rng: [],
    "stripes": _stripe,
    "patches": _patch,
    "spots": _spot,
    "bib": lambda rng: [],
}


def _dye_coat(pen: Pen, animal: Animal, rng: np.random.Generator) -> Colour:
    """Dye the whole coat layer and return the pale colour that goes with it."""
    base, marking, pale = (pick((colour,), rng, 14.0) for colour in COATS[animal.coat])
    pen.coat.paste(base, (0, 0, *pen.coat.size))
    for outline in PATTERNS[animal.pattern](rng):
        pen.dye(outline, marking)
    if animal.pattern == "bib":
        pen.dye(_oval(0.5 + 2.2j, 0.9, 1.4), pale)
        pen.dye(_oval(0.1 + 0.1j, 0.3, 1.2), pale)
    return pale


def _draw_ears(pen: Pen, animal: Animal, facing: float, inner: Colour, *, in_front: bool) -> None:
    ear = EARS[animal.ear]
    if ear.in_front != in_front:
        return
    for side in (-1, 1):
        # The ear on the side that the head turns to is the far one, and looks narrower.
        narrowing = 1 - 0.45 * max(0.0, side * facing)
        lean = np.exp(1j * ear.lean)
        shape = animal.ear_length * ear.outline * lean
        base = complex(ear.base.real * animal.face_width, ear.base.imag)
        outline = side * narrowing * (base + shape).real - 0.18 * facing + 1j * (base + shape).imag
        pen.fur(_smooth(outline, 4), EAR_TONE)
        if not in_front:
            inside = outline.mean() - 0.05j + 0.5 * (outline - outline.mean())
            # Details lie over all fur, so what the head would hide is moved to its edge.
            depth = np.abs(inside.real / animal.face_width + 1j * inside.imag / HEAD_HEIGHT)
            pen.paint(inside / np.minimum(depth / 1.03, 1), inner)


def _draw_eyes(pen: Pen, animal: Animal, facing: float, rng: np.random.Generator) -> None:
    iris = pick(IRISES, rng)
    size, squint = animal.eye_size, rng.uniform(0.7, 1.0)
    for side in (-1, 1):
        if side * facing > 0.75:
            continue
        centre = complex((0.42 * side + 0.34 * facing) * animal.face_width, -0.12)
        narrowing = 1 - 0.4 * max(0.0, side * facing)
        pen.paint(_oval(centre, 1.18 * size * narrowing, 1.18 * size * squint), INK)
        pen.paint(_oval(centre, size * narrowing, size * squint), iris)
        # Both pupils cover the same area, or the share of dark pixels would give cats away.
        pupil = (0.36, 0.9) if animal.slit_pupils else (0.57, 0.57)
        pen.paint(_oval(centre, pupil[0] * size, pupil[1] * size * squint), INK)
        pen.paint(_oval(centre - size * (0.25 + 0.3j), 0.2 * size, 0.2 * size, 10), (250, 250, 246))


def _draw_muzzle(pen: Pen, animal: Animal, facing: float, pale: Colour, rng: np.random.Generator) -> None:
    """Draw muzzle, nose, mouth, tongue and whiskers; the muzzle grows sideways as the head turns and downwards as it faces us."""
    length, width = animal.muzzle_length, animal.muzzle_width
    root = complex(0.25 * facing, 0.32)
    tip = root + complex(0.95 * length * facing, 0.3 * length * (1 - 0.6 * abs(facing)))
    snout = _limb(root + np.linspace(0, 1, 6) * (tip - root + 1e-3j), width * np.linspace(1.1, 0.85, 6))
    nose = tip + complex(0.6 * width * facing, -0.45 * width)
    mouth = nose + 1j * (animal.nose_width + 0.24)
    if animal.tongue:
        pen.paint(_oval(mouth + 0.18j, 0.16, 0.3), PINK)
        pen.stroke(mouth + np.array([0.0, 0.3j]), (176, 96, 100), 0.03)
    if abs(facing) * length > 0.25:
        pen.fur(snout, HEAD_TONE, closed=False)
    pen.fur(_oval(tip, 1.1 * width, 0.9 * width), MUZZLE_TONE)
    pen.dye(_oval(tip, 1.1 * width, 0.9 * width), pale)
    half, whisker = animal.nose_width, pick((INK, pale), rng, 40.0)
    pen.paint(_smooth(nose + half * np.array([-1 - 0.5j, 1 - 0.5j, 0.7 + 0.3j, 0.8j, -0.7 + 0.3j])), pick(NOSES, rng))
    pen.stroke(np.array([nose + 0.7j * half, mouth]), INK, 0.04)
    smile = np.linspace(0, np.pi, 7)
    for side in (-1, 1):
        pen.stroke(mouth + side * 0.17 * (1 - np.cos(smile)) / 2 * 2 + 0.1j * np.sin(smile), INK, 0.04)
        if animal.whiskers:
            for rise in (-0.16, 0.0, 0.16):
                pen.stroke(tip + side * np.array([0.2, 0.75, 1.25]) + 1j * rise * np.array([0.3, 1.0, 1.2]), whisker, 0.03)


def _draw_head(pen: Pen, animal: Animal, pale: Colour, rng: np.random.Generator) -> None:
    facing = float(np.clip(rng.normal(0.15, 0.4), -0.85, 0.85))
    inner = pick(INNER_EARS, rng)
    _draw_ears(pen, animal, facing, inner, in_front=False)
    pen.fur(_oval(0, animal.face_width, HEAD_HEIGHT), HEAD_TONE)
    _draw_muzzle(pen, animal, facing, pale, rng)
    _draw_ears(pen, animal, facing, inner, in_front=True)
    _draw_eyes(pen, animal, facing, rng)


def _draw_tail(pen: Pen, animal: Animal, root: complex, rng: np.random.Generator) -> None:
    share = np.linspace(0, 1, 14)
    heading = np.pi + rng.uniform(0.0, 0.9) + rng.uniform(-1.0, 2.4) * share
    path = root + animal.tail_length / len(share) * np.cumsum(np.exp(1j * heading))
    pen.fur(_limb(path, animal.tail_width * np.sqrt(1.02 - share**4)), FAR_TONE)


def _draw_leg(pen: Pen, animal: Animal, top: complex, ground: float, tone: int) -> None:
    half_width = 0.2 + 0.12 * animal.chest_width
    foot = complex(top.real, ground)
    pen.fur(_oval(foot + 0.12, 1.25 * half_width, 0.2, 16), tone)
    pen.fur(_limb(np.linspace(top, foot, 5), np.linspace(1.25, 0.8, 5) * half_width), tone, closed=False)


def _draw_bust(pen: Pen, animal: Animal, rng: np.random.Generator) -> None:
    width = animal.chest_width
    pen.fur(
        _smooth(
            np.array(
                [-0.55 + 0.2j, 0.55 + 0.2j, (0.5 + 1.3j) + 0.5 * width, width + 0.6 + 4j, -width - 0.6 + 4j, -0.5 + 1.3j - 0.5 * width]
            )
        ),
        BODY_TONE,
    )


def _draw_sitting(pen: Pen, animal: Animal, rng: np.random.Generator) -> None:
    width, ground = animal.chest_width, 2.4 + animal.leg_length
    _draw_tail(pen, animal, complex(-1.5, ground - 0.3), rng)
    _draw_leg(pen, animal, complex(0.75 * width, 1.8), ground, FAR_TONE)
    back = np.array(
        [
            -0.6 + 0.2j,
            0.55 + 0.3j,
            width + 1.5j,
            0.6 * width + 2.5j,
            complex(-0.3, ground),
            complex(-1.6, ground),
            complex(-1.9, ground - 1.2),
        ]
    )
    pen.fur(_smooth(np.append(back, -1.2 + 1.3j)), BODY_TONE)
    _draw_leg(pen, animal, complex(0.4 * width, 1.9), ground, BODY_TONE)
    pen.fur(_oval(complex(-1.0, ground - 0.65), 0.8, 0.65), BODY_TONE)
    pen.fur(_oval(complex(-0.3, ground), 0.5, 0.2, 16), BODY_TONE)


def _draw_standing(pen: Pen, animal: Animal, rng: np.random.Generator) -> None:
    width, ground = animal.chest_width, 1.9 + animal.leg_length
    _draw_tail(pen, animal, -3.5 + 1.0j, rng)
    for x in (-0.15, -3.1):
        _draw_leg(pen, animal, complex(x, 1.5), ground, FAR_TONE)
    trunk = np.array(
        [-0.7 + 0.3j, 0.4 + 0.4j, 0.35 + 1.4j, complex(-0.3, 1.4 + 0.7 * width), -2.2 + 1.95j, -3.4 + 1.9j, -3.7 + 1.1j, -2.4 + 0.75j]
    )
    pen.fur(_smooth(trunk), BODY_TONE)
    for x in (-0.5, -3.35):
        _draw_leg(pen, animal, complex(x, 1.6), ground, BODY_TONE)


@dataclass(frozen=True)
class Pose:
    """A way to hold the body: how it is drawn, where its middle is, how many head radii it measures and how often it is seen."""

    draw_body: Callable[[Pen, Animal, np.random.Generator], None]
    middle: complex
    extent: float
    share: float


POSES: tuple[Pose, ...] = (
    Pose(_draw_bust, -0.15j, 2.7, 0.76),
    Pose(_draw_sitting, -0.5 + 1.2j, 5.0, 0.12),
    Pose(_draw_standing, -1.6 + 1.1j, 5.4, 0.12),
)


def draw_photo(anatomy: Anatomy, rng: np.random.Generator) -> Image.Image:
    """Return one RGB photo of an animal; its size, place and surroundings do not depend on `anatomy`.

    Args:
        anatomy: The traits that the animal may have.
        rng: Source of every choice; equal states give equal pixels.
    """
    size = draw_size(rng)
    image = draw_background(size, rng)
    pose = POSES[int(rng.choice(len(POSES), p=[pose.share for pose in POSES]))]
    large = (SUPERSAMPLING * size[0], SUPERSAMPLING * size[1])
    turn = min(size) / pose.extent * rng.uniform(0.85, 1.15) * np.exp(1j * rng.normal(0.0, 0.1))
    target = complex(size[0] * rng.uniform(0.4, 0.6), size[1] * rng.uniform(0.43, 0.58))
    layers = (Image.new("L", large), Image.new("RGB", size), Image.new("RGBA", large))
    pen = Pen(*layers, origin=target - turn * pose.middle, turn=complex(turn), mirror=bool(rng.random() < 0.5))

    animal = draw_animal(anatomy, rng)
    pale = _dye_coat(pen, animal, rng)
    pose.draw_body(pen, animal, rng)
    _draw_head(pen.move(0, np.exp(1j * rng.normal(0.0, 0.12))), animal, pale, rng)

    relief = pen.relief.reduce(SUPERSAMPLING)
    silhouette = pen.relief.point([0] + [255] * 255).reduce(SUPERSAMPLING)
    image.paste(ImageChops.multiply(pen.coat, Image.merge("RGB", (relief,) * 3)), mask=silhouette)
    # Only the face has details; reducing no more than it saves a tenth of the time.
    left, top, right, bottom = pen.details.getbbox() or (0, 0, 1, 1)
    corner = (left // SUPERSAMPLING, top // SUPERSAMPLING)
    details = pen.details.crop((corner[0] * SUPERSAMPLING, corner[1] * SUPERSAMPLING, right, bottom)).reduce(SUPERSAMPLING)
    image.paste(details, corner, mask=details)
    add_occluders(image, rng)
    return take_photo(image, rng)
