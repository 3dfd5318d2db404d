"""Small photos and archives for the tests of fusion; a scene is smooth, as photos are, so that it survives recompression."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance

from components.common.recipe import Source
from components.fuse.fuse import Archive


def scene(number: int) -> Image.Image:
    coarse = np.random.default_rng(number).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((80, 60), Image.Resampling.BICUBIC)


def encode(image: Image.Image, quality: int = 90) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=quality)
    return stream.getvalue()


def vary(number: int, quality: int = 60) -> bytes:
    """The scene once more, smaller, darker and recompressed."""
    return encode(ImageEnhance.Brightness(scene(number).resize((74, 56))).enhance(0.85), quality)


def write_dogs_vs_cats(path: Path, files: dict[str, bytes]) -> Archive:
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as archive:
        for name, data in files.items():
            archive.writestr(f"train/{name}", data)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("train.zip", inner.getvalue())
    return Archive(Source(name="dogs-vs-cats", provider="local", layout="dogs_vs_cats"), path, {"origin": "test", "generated": False})


def write_dog_breeds(path: Path, files: dict[str, tuple[str, bytes]]) -> Archive:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("labels.csv", "id,breed\n" + "".join(f"{name},{breed}\n" for name, (breed, _) in files.items()))
        for name, (_, data) in files.items():
            archive.writestr(f"train/{name}.jpg", data)
    source = Source(name="dog-breed-identification", provider="local", layout="dog_breeds")
    return Archive(source, path, {"origin": "test", "generated": False})
