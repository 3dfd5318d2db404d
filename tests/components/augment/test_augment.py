from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

from components.augment.augment import augment
from components.augment.run import run
from components.common.augmentation import draw, vary
from components.common.dataset import Dataset
from components.common.recipe import Recipe, parse_recipe
from components.common.shards import Images
from components.common.store import home
from tests.conftest import RECIPE, deliver


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


@pytest.mark.parametrize("override", ["augment.views=0", "candidates.1.augment=false"])
def test_views_that_nobody_reads_are_an_empty_artifact(override: str, dataset: Dataset, tmp_path: Path) -> None:
    record = augment(dataset, parse_recipe(RECIPE, overrides=(override,)), tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"preview.png"}
    assert (record.params["views"], record.metrics["images.train.views"], record.figures) == (0, 0, ["preview.png"])


def test_candidates_matter_to_the_cache_only_where_they_change_what_is_stored(dataset: Dataset, tmp_path: Path) -> None:
    delivered = deliver(dataset, tmp_path / "dataset")

    def count_entries(*overrides: str) -> int:
        recipe = parse_recipe(RECIPE, overrides=overrides)
        run(recipe=recipe.model_dump_json(), dataset=delivered, out=tmp_path / "views")
        return len(list((home() / "cache" / "augment").glob("*/artifact.json")))

    unread = "candidates.1.augment=false"
    assert count_entries() == 1
    assert count_entries("candidates.0.epochs=3", "candidates.1.int8=true") == 1
    assert count_entries(unread) == 2
    assert count_entries(unread, "augment.views=3") == count_entries("augment.views=0") == 2
    assert count_entries("augment.views=2") == 3
