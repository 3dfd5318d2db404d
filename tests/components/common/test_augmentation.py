from __future__ import annotations

import numpy as np
import pytest

from components.common.augmentation import vary
from components.common.recipe import Augment
from serving.images import Pixels

STILL = Augment(flip=False)


@pytest.fixture
def pixels() -> Pixels:
    return np.random.default_rng(0).integers(0, 256, (24, 24, 3), dtype=np.uint8)


def test_no_ranges_change_nothing(pixels: Pixels) -> None:
    np.testing.assert_array_equal(vary(pixels, STILL, 1, 2, 3), pixels)


def test_the_key_decides_the_draw(pixels: Pixels) -> None:
    policy = Augment(rotate=20, crop=0.2, shift=0.1, brightness=0.2, contrast=0.2, saturation=0.2)
    np.testing.assert_array_equal(vary(pixels, policy, 0, 1, 2), vary(pixels, policy, 0, 1, 2))
    assert (vary(pixels, policy, 0, 1, 2) != vary(pixels, policy, 0, 1, 3)).any()


def test_a_flip_is_an_exact_mirror_image_half_of_the_time(pixels: Pixels) -> None:
    variants = [vary(pixels, Augment(), 0, 0, row) for row in range(200)]
    mirrored = [np.array_equal(variant, pixels[:, ::-1]) for variant in variants]
    assert all(mirror or np.array_equal(variant, pixels) for mirror, variant in zip(mirrored, variants, strict=True))
    assert 70 < sum(mirrored) < 130


@pytest.mark.parametrize("operation", ["rotate", "crop", "shift", "brightness", "contrast", "saturation"])
def test_each_operation_changes_pixels_within_range(pixels: Pixels, operation: str) -> None:
    policy = STILL.model_copy(update={operation: 30.0 if operation == "rotate" else 0.4})
    variant = vary(pixels, policy, 5)
    assert variant.shape == pixels.shape
    assert variant.dtype == np.uint8
    assert (variant != pixels).any()


def test_brightness_is_a_factor() -> None:
    grey = np.full((8, 8, 3), 100, np.uint8)
    means = [vary(grey, STILL.model_copy(update={"brightness": 0.3}), row).mean() for row in range(200)]
    assert 69 <= min(means) < 75
    assert 125 < max(means) <= 131
