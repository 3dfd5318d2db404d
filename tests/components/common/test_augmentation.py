from __future__ import annotations

import numpy as np
import pytest

from components.common.augmentation import draw, vary
from components.common.recipe import Augment
from serving.images import Pixels

STILL = Augment(flip=False)
EVERYTHING = Augment(rotate=20, crop=0.2, shift=0.1, brightness=0.2, contrast=0.2, saturation=0.2, cutout=0.3)


@pytest.fixture
def images() -> Pixels:
    return np.random.default_rng(0).integers(0, 256, (40, 24, 24, 3), dtype=np.uint8)


def test_no_ranges_change_nothing(images: Pixels) -> None:
    assert vary(images, STILL, draw(40, 1, 2)) is images


def test_the_originals_stay_as_they_are(images: Pixels) -> None:
    before = images.copy()
    vary(images, EVERYTHING, draw(40, 0, 0))
    np.testing.assert_array_equal(images, before)


def test_the_key_decides_the_draw(images: Pixels) -> None:
    np.testing.assert_array_equal(vary(images, EVERYTHING, draw(40, 0, 1)), vary(images, EVERYTHING, draw(40, 0, 1)))
    assert (vary(images, EVERYTHING, draw(40, 0, 1)) != vary(images, EVERYTHING, draw(40, 0, 2))).any()


@pytest.mark.parametrize("policy", [EVERYTHING, Augment(shift=0.2)], ids=["affine", "whole pixels"])
def test_neither_the_batch_nor_the_number_of_images_matters(images: Pixels, policy: Augment) -> None:
    together = vary(images, policy, draw(40, 3, 0))
    rows = np.array([31, 4, 17])
    np.testing.assert_array_equal(vary(images[rows], policy, draw(90, 3, 0)[rows]), together[rows])


def test_a_flip_is_an_exact_mirror_image_half_of_the_time() -> None:
    images = np.random.default_rng(0).integers(0, 256, (200, 8, 8, 3), dtype=np.uint8)
    variants = vary(images, Augment(), draw(200, 0, 0))
    mirrored = [np.array_equal(variant, image[:, ::-1]) for variant, image in zip(variants, images, strict=True)]
    pairs = zip(mirrored, variants, images, strict=True)
    assert all(mirror or np.array_equal(variant, image) for mirror, variant, image in pairs)
    assert 70 < sum(mirrored) < 130
    assert [
        np.array_equal(variant, image) for variant, image in zip(vary(images, Augment(), draw(200, 0, 1)), images, strict=True)
    ] == mirrored


def test_flips_and_shifts_alone_give_the_same_pixels_as_the_affine_map(images: Pixels) -> None:
    whole_pixels = Augment(shift=0.2)
    # A crop too small to show sends the same draws through the resampler.
    resampled = vary(images, whole_pixels.model_copy(update={"crop": 1e-12}), draw(40, 5, 0))
    np.testing.assert_array_equal(vary(images, whole_pixels, draw(40, 5, 0)), resampled)
    assert (resampled != images).any(axis=(1, 2, 3)).mean() > 0.9


@pytest.mark.parametrize("operation", ["rotate", "crop", "shift", "brightness", "contrast", "saturation"])
def test_each_operation_changes_pixels_within_range(images: Pixels, operation: str) -> None:
    policy = STILL.model_copy(update={operation: 30.0 if operation == "rotate" else 0.4})
    variants = vary(images, policy, draw(40, 5, 0))
    assert variants.shape == images.shape
    assert variants.dtype == np.uint8
    assert (variants != images).any(axis=(1, 2, 3)).mean() > 0.9


@pytest.mark.parametrize(("cutout", "side"), [(0.25, 6), (0.9, 22)])
def test_a_square_about_a_random_pixel_is_hidden(images: Pixels, cutout: float, side: int) -> None:
    variants = vary(images, STILL.model_copy(update={"cutout": cutout}), draw(40, 5, 0))
    hidden = (variants == 128).all(axis=3)
    np.testing.assert_array_equal(variants[~hidden], images[~hidden])
    rows, columns = hidden.any(axis=2).sum(axis=1), hidden.any(axis=1).sum(axis=1)
    np.testing.assert_array_equal(hidden.sum(axis=(1, 2)), rows * columns)
    assert max(rows.max(), columns.max()) == side
    # About half of it lies outside where the pixel is at the border.
    assert side // 2 <= min(rows.min(), columns.min()) < side


def test_brightness_is_a_factor() -> None:
    grey = np.full((200, 8, 8, 3), 100, np.uint8)
    means = vary(grey, STILL.model_copy(update={"brightness": 0.3}), draw(200, 0, 0)).mean(axis=(1, 2, 3))
    assert 69 <= means.min() < 75
    assert 125 < means.max() <= 131
