"""The photos that are sent: JPEG files of three sizes, as a web site, an album and a phone make them.

Made of pictures like those that the network has learnt from, enlarged with grain, as a sensor adds it, and compressed until they have the
wanted size.
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.weights import RAW
from components.fuse.layouts import read_entries

#: Name -> width and height in pixels, and bytes.
SIZES = {"23 KB": ((500, 375), 23_000), "100 KB": ((1024, 768), 100_000), "3 MB": ((4032, 3024), 3_000_000)}
#: Photos of each size.
NUM_PHOTOS = 4

_STEP = 77
_GRAIN_SIGMA = 3.0


def make_payloads(models: Path) -> dict[str, list[bytes]]:
    """Name of a size -> encoded photos, made of pictures that `benchmarks.weights` has fetched."""
    (archive,) = (models / RAW).glob("*.zip")
    # Every so many, so that both classes are among them.
    pictures = [entry.data for entry in read_entries("dogs_vs_cats", archive) if entry.data][::_STEP][:NUM_PHOTOS]
    return {name: [encode(picture, size, num_bytes) for picture in pictures] for name, (size, num_bytes) in SIZES.items()}


def encode(picture: bytes, size: tuple[int, int], num_bytes: int) -> bytes:
    """A picture in the wanted size (width, height), as JPEG with the best quality that has at most `num_bytes`."""
    pixels = np.asarray(Image.open(io.BytesIO(picture)).convert("RGB").resize(size, Image.Resampling.BICUBIC), np.float32)
    grain = np.random.default_rng(0).normal(0, _GRAIN_SIGMA, (256, 256, 1)).astype(np.float32)
    tiled = np.tile(grain, (size[1] // 256 + 1, size[0] // 256 + 1, 1))[: size[1], : size[0]]
    image = Image.fromarray(np.clip(pixels + tiled, 0, 255).astype(np.uint8))
    encoded = b""
    worst, best = 20, 98
    while worst <= best:
        quality = (worst + best) // 2
        stream = io.BytesIO()
        image.save(stream, "JPEG", quality=quality)
        if len(stream.getvalue()) <= num_bytes:
            encoded, worst = stream.getvalue(), quality + 1
        else:
            best = quality - 1
    return encoded
