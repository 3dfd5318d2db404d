from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageEnhance

from components.common.dataset import Dataset
from components.common.recipe import Recipe
from components.fuse import near_duplicates as module
from components.fuse.fuse import fuse
from components.fuse.hashing import hash_squares
from components.fuse.near_duplicates import LARGEST_DIFFERENCE, RADIUS, compare, find_close_hashes, find_near_duplicates
from components.fuse.splitting import choose_split
from serving.images import read_photo
from tests.components.fuse.drawing import encode, scene, write_dogs_vs_cats


def brute_force(hashes: NDArray[np.uint64]) -> set[tuple[int, int]]:
    distance = np.bitwise_count(hashes[:, None] ^ hashes[None])
    return {(int(a), int(b)) for a, b in np.argwhere(distance <= RADIUS) if a < b}


def as_set(pairs: NDArray[np.int64]) -> set[tuple[int, int]]:
    return {(int(a), int(b)) for a, b in np.sort(pairs, axis=1)}


def test_every_pair_within_the_radius_is_found() -> None:
    generator = np.random.default_rng(0)
    centres = generator.integers(0, 2**64, 300, dtype=np.uint64)
    hashes = [*centres]
    for centre in centres:
        for number in generator.integers(1, RADIUS + 3, 3):
            bits = generator.choice(64, number, replace=False)
            hashes.append(np.uint64(int(centre) ^ sum(1 << int(bit) for bit in bits)))
    distinct = np.unique(np.array(hashes, np.uint64))
    pairs, num_capped = find_close_hashes(distinct)
    assert as_set(pairs) == brute_force(distinct)
    assert num_capped == 0


def test_hashes_that_share_a_band_cost_no_more_than_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LARGEST_BUCKET", 8)
    hashes = np.arange(0, 5000, dtype=np.uint64) << np.uint64(40)
    pairs, num_capped = find_close_hashes(hashes)
    assert len(pairs) <= 4 * 17 * 8 * len(hashes)
    assert num_capped > 0


def test_copies_are_found_and_other_photos_are_not() -> None:
    edits: list[Callable[[Image.Image], bytes]] = [
        lambda image: encode(image, 40),
        lambda image: encode(image.resize((40, 30))),
        lambda image: encode(image.resize((78, 58)), 75),
        lambda image: encode(image.convert("L").convert("RGB")),
        lambda image: encode(ImageEnhance.Contrast(image).enhance(0.7)),
        lambda image: encode(ImageEnhance.Brightness(image).enhance(0.7)),
    ]
    files = [encode(scene(number)) for number in range(100)] + [edit(scene(number)) for number, edit in enumerate(edits)]
    squares = np.stack([read_photo(data, 64).pixels for data in files])
    search = find_near_duplicates(hash_squares(squares), lambda rows: squares[rows])
    assert as_set(search.pairs) == {(number, 100 + number) for number in range(len(edits))}
    assert search.num_capped == 0
    unrelated = compare(np.array([[0, 1], [2, 3]]), lambda rows: squares[rows])
    assert (unrelated > 4 * LARGEST_DIFFERENCE).all()


def test_a_thousand_blank_images_are_one_cluster_in_linear_work() -> None:
    blank = np.full((1000, 32, 32, 3), 255, np.uint8)
    search = find_near_duplicates(hash_squares(blank), lambda rows: blank[rows])
    assert search.num_candidates <= 33 * 1000
    assert search.num_capped == 1
    assert {(row, row + 1) for row in range(999)} <= as_set(search.pairs)


def test_a_crowd_of_one_picture_lies_in_one_split(tmp_path: Path, recipe: Recipe) -> None:
    drawings = {f"{'cat' if number % 2 else 'dog'}.{number}.jpg": encode(scene(number)) for number in range(150)}
    blank = encode(Image.new("RGB", (60, 60), "grey"))
    # Bytes after the end of a JPEG file decide its split and do not change its picture. None of the later ones is where the first one is.
    contents = {text: hashlib.sha256(blank + text.encode()).hexdigest() for text in map(str, range(400))}
    splits = {text: choose_split(content, recipe.split, recipe.seed) for text, content in contents.items()}
    first = next(text for text, split in splits.items() if split == "test")
    endings = [first, *(text for text, split in splits.items() if split != "test")]
    crowd = {f"cat.{1000 + number}.jpg": blank + text.encode() for number, text in enumerate(endings)}
    (tmp_path / "out").mkdir()
    fuse([write_dogs_vs_cats(tmp_path / "photos.zip", drawings | crowd)], recipe, tmp_path / "out")
    manifest = Dataset(tmp_path / "out").manifest
    of_crowd = manifest[manifest["path"].str.contains(r"cat\.\d{4}", regex=True)]
    assert len(of_crowd) > 200
    assert of_crowd["split"].value_counts().to_dict() == {"test": 1}


def test_nothing_and_one_image_have_no_pairs() -> None:
    for count in (0, 1):
        squares = np.zeros((count, 32, 32, 3), np.uint8)
        search = find_near_duplicates(np.zeros(count, np.uint64), lambda rows: squares[rows])  # noqa: B023
        assert search.pairs.shape == (0, 2)
