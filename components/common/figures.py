"""Pictures for people: contact sheets of images with a caption under each, and heat maps over images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from serving.images import Pixels

#: Share of the heat in a picture that shows both.
_HEAT = 0.45

_TILE = 112
_CAPTION = 26
_MARGIN = 4
#: Pillow's own font has spaces of two pixels at this size, so that words run together, and only Latin letters.
_FONT = Path(mpl.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
_FONT_SIZE = 9


def overlay_heat(pixels: Pixels, evidence: NDArray[np.float32]) -> Pixels:
    """A picture under its heat map: red where the evidence is for the class, blue where it is against, clear where there is none.

    Args:
        pixels: uint8 RGB, shape (size, size, 3).
        evidence: Shape (size, size); see `serving.activation`.
    """
    strength = evidence / max(float(np.abs(evidence).max()), 1e-9)
    colour = np.where(strength[..., np.newaxis] > 0, [255.0, 0.0, 0.0], [0.0, 80.0, 255.0])
    share = _HEAT * np.abs(strength)[..., np.newaxis]
    return np.asarray((1 - share) * pixels + share * colour, dtype=np.uint8)


def save_contact_sheet(images: Sequence[Pixels], captions: Sequence[str], path: Path, *, columns: int = 8, title: str = "") -> None:
    """Write images as one PNG grid.

    Args:
        images: uint8 RGB, any sizes.
        captions: One for each image; up to two lines of about 18 characters are visible.
        path: PNG file to write.
        columns: Images in one row.
        title: Printed above the grid.
    """
    header = 22 if title else 0
    num_rows = -(-len(images) // columns)
    sheet = Image.new("RGB", (columns * (_TILE + _MARGIN) + _MARGIN, header + num_rows * (_TILE + _CAPTION + _MARGIN) + _MARGIN), "white")
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.truetype(_FONT, _FONT_SIZE)
    draw.text((_MARGIN, _MARGIN), title, fill="black", font=font)
    for position, (pixels, caption) in enumerate(zip(images, captions, strict=True)):
        row, column = divmod(position, columns)
        left, top = _MARGIN + column * (_TILE + _MARGIN), header + _MARGIN + row * (_TILE + _CAPTION + _MARGIN)
        sheet.paste(Image.fromarray(pixels).resize((_TILE, _TILE), Image.Resampling.BILINEAR), (left, top))
        for line, text in enumerate(caption.split("\n")[:2]):
            draw.text((left, top + _TILE + 1 + 11 * line), text[:19], fill="black", font=font)
    sheet.save(path)
