"""Damaged and odd image files without end: drawings in every format and mode that Pillow writes, mutated in the ways that files are."""

from __future__ import annotations

import io
import random
import struct
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from PIL import Image

#: Format -> modes that it can hold.
MODES = {
    "JPEG": ("RGB", "L", "CMYK"),
    "PNG": ("RGB", "RGBA", "L", "LA", "P", "1", "I;16", "I"),
    "GIF": ("P", "L", "RGB"),
    "WEBP": ("RGB", "RGBA"),
    "BMP": ("RGB", "L", "1", "P"),
    "TIFF": ("RGB", "RGBA", "L", "1", "P", "CMYK", "LAB", "YCbCr", "I;16", "I", "F"),
    # What the decoder must refuse.
    "PPM": ("RGB", "L"),
    "TGA": ("RGB",),
    "PCX": ("RGB",),
    "ICO": ("RGBA",),
    "EPS": ("RGB",),
    "PDF": ("RGB",),
    "JPEG2000": ("RGB",),
    "DDS": ("RGBA",),
    "SGI": ("RGB",),
}
SUFFIXES = (".jpg", ".png", ".gif", ".webp", ".bmp", ".tiff", ".JPEG", ".db", ".txt", "")


def draw(chance: random.Random) -> bytes:
    """One drawing, in any format, mode, size and with any options."""
    file_format = chance.choice(list(MODES))
    mode = chance.choice(MODES[file_format])
    # Side 1 and very long strips are where resizers divide by zero.
    width, height = (chance.choice([1, 2, 3, 17, 64, 200, chance.randint(1, 600)]) for _ in range(2))
    image = _fill(chance, mode, width, height)
    options: dict[str, object] = {}
    if file_format == "JPEG":
        exif = Image.Exif()
        exif[0x0112] = chance.choice([1, 3, 6, 8, 9, 77])
        options = {"quality": chance.choice([1, 50, 95]), "progressive": chance.random() < 0.3, "exif": exif}
    if file_format in ("GIF", "WEBP", "TIFF", "PNG") and chance.random() < 0.2:
        options = {"save_all": True, "append_images": [_fill(chance, mode, width, height) for _ in range(3)]}
    stream = io.BytesIO()
    try:
        image.save(stream, file_format, **options)
    except (OSError, ValueError, KeyError):
        image.convert("RGB").save(stream, "PNG")
    return stream.getvalue()


def _fill(chance: random.Random, mode: str, width: int, height: int) -> Image.Image:
    generator = np.random.default_rng(chance.getrandbits(32))
    if chance.random() < 0.1:
        return Image.new("RGB", (width, height), chance.choice(["black", "white", "grey"])).convert("L").convert("RGB")
    pixels = generator.integers(0, 256, (chance.choice([1, 4, height]), chance.choice([1, 4, width]), 3), dtype=np.uint8)
    image = Image.fromarray(pixels).resize((width, height))
    if mode.startswith(("I", "F")):
        values = generator.integers(0, 65536, (height, width))
        return Image.fromarray(values.astype({"I;16": np.uint16, "I": np.int32, "F": np.float32}[mode]))
    return image.convert("L").convert(mode) if mode == "LA" else image if mode == "LAB" else image.convert(mode)


def _truncate(data: bytes, chance: random.Random) -> bytes:
    return data[: chance.randrange(len(data) + 1)]


def _flip(data: bytes, chance: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(chance.choice([1, 4, 64])):
        changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
    return bytes(changed)


def _flip_header(data: bytes, chance: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(chance.choice([1, 2, 8])):
        changed[chance.randrange(min(len(changed), 64))] = chance.choice([0, 1, 0x7F, 0x80, 0xFF, chance.randrange(256)])
    return bytes(changed)


def _enlarge(data: bytes, chance: random.Random) -> bytes:
    """Numbers of two and four bytes become huge, as sizes in a bomb are."""
    changed = bytearray(data)
    value = chance.choice([b"\xff\xff", b"\x7f\xff\xff\xff", b"\xff\xff\xff\xff", struct.pack("<I", 1 << 20), struct.pack(">I", 1 << 24)])
    start = chance.randrange(min(len(changed), 128))
    changed[start : start + len(value)] = value
    return bytes(changed)


def _cut_out(data: bytes, chance: random.Random) -> bytes:
    start = chance.randrange(len(data))
    return data[:start] + data[start + chance.choice([1, 16, 512]) :]


def _repeat(data: bytes, chance: random.Random) -> bytes:
    start = chance.randrange(len(data))
    return data[:start] + data[start : start + 256] * chance.choice([2, 50]) + data[start:]


def _append(data: bytes, chance: random.Random) -> bytes:
    return data + chance.randbytes(chance.choice([1, 100, 10_000]))


def _prepend(data: bytes, chance: random.Random) -> bytes:
    return chance.choice([b"\x00", b"\xff\xd8\xff", b"GIF89a", b"RIFF", b"II*\x00", b"%!PS"]) + data


def _join(data: bytes, chance: random.Random) -> bytes:
    other = draw(chance)
    return data[: len(data) // 2] + other[len(other) // 2 :]


def _leave(data: bytes, chance: random.Random) -> bytes:
    return data


def _invent(data: bytes, chance: random.Random) -> bytes:
    return chance.choice([b"", b"\x00" * 100, chance.randbytes(300), b"<html></html>", b"\xff\xd8\xff\xd9"])


MUTATIONS: tuple[Callable[[bytes, random.Random], bytes], ...] = (
    _truncate, _flip, _flip_header, _enlarge, _cut_out, _repeat, _append, _prepend, _join, _leave, _invent,
)  # fmt: skip


def mutate(number: int, seeds: Sequence[bytes] = ()) -> Iterator[tuple[str, bytes]]:
    """Yield `number` files, name and content; `seeds` are mutated besides the drawings."""
    chance = random.Random(0)
    for position in range(number):
        data = chance.choice(seeds) if seeds and chance.random() < 0.5 else draw(chance)
        for _ in range(chance.choice([1, 1, 2])):
            data = chance.choice(MUTATIONS)(data, chance) or b"\x00"
        yield f"{'cat' if position % 2 else 'dog'}/{position:05d}{chance.choice(SUFFIXES)}", b"" if data == b"\x00" else data
