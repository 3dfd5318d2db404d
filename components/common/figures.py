"""Pictures for people: contact sheets of images with a caption under each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw

from serving.images import Pixels

_TILE = 112
_CAPTION = 26
_MARGIN = 4


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
    draw.text((_MARGIN, _MARGIN), title, fill="black")
    for position, (pixels, caption) in enumerate(zip(images, captions, strict=True)):
        row, column = divmod(position, columns)
        left, top = _MARGIN + column * (_TILE + _MARGIN), header + _MARGIN + row * (_TILE + _CAPTION + _MARGIN)
        sheet.paste(Image.fromarray(pixels).resize((_TILE, _TILE), Image.Resampling.BILINEAR), (left, top))
        for line, text in enumerate(caption.split("\n")[:2]):
            draw.text((left, top + _TILE + 1 + 11 * line), text[:19], fill="black", font_size=10)
    sheet.save(path)
