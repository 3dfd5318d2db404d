from __future__ import annotations

import io
from collections.abc import Callable

import imagehash
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageEnhance

from components.fuse import near_duplicates as module
from components.fuse.near_duplicates import LARGEST_DIFFERENCE, RADIUS, compare, find_close_hashes, find_near_duplicates, parse_hashes
from serving.images import Pixels, read_photo
from tests.components.fuse.drawing import encode, scene, vary


def brute_force(hashes: NDArray[np.uint64]) -> set[tuple[int, int]]:
    distance = np.bitwise_count(hashes[:, None] ^ hashes[None])
    return {(int(a), int(b)) for a, b in np.argwhere(distance <= RADIUS) if a < b}


def as_set(pairs: NDArray[np.int64]) -> set[tuple[int, int]]:
    return {(int(a), int(b)) for a, b in np.sort(pairs, axis=1)}


def hash_of(pixels: Pixels) -> str:
    return str(imagehash.phash(Image.fromarray(pixels)))


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
    search = find_near_duplicates(parse_hashes([hash_of(pixels) for pixels in squares]), lambda rows: squares[rows])
    assert as_set(search.pairs) == {(number, 100 + number) for number in range(len(edits))}
    assert search.num_capped == 0
    unrelated = compare(np.array([[0, 1], [2, 3]]), lambda rows: squares[rows])
    assert (unrelated > 4 * LARGEST_DIFFERENCE).all()


def test_a_thousand_blank_images_are_one_cluster_in_linear_work() -> None:
    blank = np.full((1000, 32, 32, 3), 255, np.uint8)
    search = find_near_duplicates(parse_hashes([hash_of(blank[0])] * 1000), lambda rows: blank[rows])
    assert search.num_candidates <= 32 * 1000
    assert search.num_capped == 1
    assert {(row, row + 1) for row in range(999)} <= as_set(search.pairs)


def test_nothing_and_one_image_have_no_pairs() -> None:
    for count in (0, 1):
        squares = np.zeros((count, 32, 32, 3), np.uint8)
        search = find_near_duplicates(np.zeros(count, np.uint64), lambda rows: squares[rows])  # noqa: B023
        assert search.pairs.shape == (0, 2)


def test_the_drawn_variant_differs_in_bytes_and_size() -> None:
    assert Image.open(io.BytesIO(vary(1))).size == (74, 56)
