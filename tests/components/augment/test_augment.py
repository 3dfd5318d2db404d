from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from components.augment.augment import augment
from components.common.augmentation import draw, vary
from components.common.dataset import Dataset
from components.common.recipe import Recipe, parse_recipe
from components.common.shards import Images
from tests.conftest import RECIPE


def digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir() if path.is_file()}


def test_views_are_variants_of_training_images_and_of_no_others(dataset: Dataset, recipe: Recipe, tmp_path: Path) -> None:
    before = digests(dataset.folder)
    augment(dataset, parse_recipe(RECIPE, overrides=("augment.views=2",)), tmp_path)
    assert digests(dataset.folder) == before
    assert {path.name for path in tmp_path.iterdir()} == {"train-0000.npy", "preview.png"}
    train, views = dataset.images("train"), Images([tmp_path / "train-0000.npy"])
    assert len(views) == 2 * len(train)
    for view in range(2):
        expected = vary(train[:], recipe.augment, draw(len(train), recipe.seed, view))
        np.testing.assert_array_equal(views[view * len(train) : (view + 1) * len(train)], expected)


def test_no_views_are_an_empty_artifact(dataset: Dataset, tmp_path: Path) -> None:
    augment(dataset, parse_recipe(RECIPE, overrides=("augment.views=0",)), tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"preview.png"}
