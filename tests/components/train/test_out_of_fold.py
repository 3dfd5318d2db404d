from __future__ import annotations

import dataclasses
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from components.common.dataset import SPLITS, Dataset
from components.common.recipe import Recipe, Source, parse_recipe
from components.fuse.fuse import Archive, fuse
from components.train import out_of_fold
from components.train.frozen import label_training_images
from components.train.heads import Rows
from components.train.network import Floats
from components.train.out_of_fold import predict_out_of_fold
from tests.components.fuse.drawing import encode, scene
from tests.conftest import RECIPE


def set_features(features: Floats, num_train: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the images of all splits these features, shape (images, channels), and each training image one view with the same."""
    monkeypatch.setattr(out_of_fold, "list_training_images", lambda *arguments: {})
    monkeypatch.setattr(out_of_fold, "compute_features", lambda *arguments: (np.concatenate([features[:num_train], features]), 0.0))
    monkeypatch.setattr(out_of_fold, "artifact_digest", lambda folder: "digest")


def forget_groups(rows: Rows, num_images: int) -> Rows:
    """As if nobody knew which image a view is of."""
    groups = [*rows.groups[:num_images], *["none of them"] * (len(rows.labels) - num_images)]
    return dataclasses.replace(rows, groups=np.array(groups))


@pytest.mark.parametrize(("leaks", "least", "most"), [(False, 0.35, 0.65), (True, 0.95, 1.0)])
def test_nothing_is_predicted_by_what_has_seen_it(
    leaks: bool, least: float, most: float, dataset: Dataset, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With features that say who an image is, and nothing else, only a head that has seen the image, or a view of it, can be right."""
    images = pd.concat([dataset.rows(split) for split in SPLITS], ignore_index=True)
    train = dataset.rows("train")
    set_features(np.random.default_rng(0).normal(size=(len(images), 400)), len(train), monkeypatch)
    if leaks:
        forget = lambda *arguments: forget_groups(label_training_images(*arguments), len(train))  # noqa: E731
        monkeypatch.setattr(out_of_fold, "label_training_images", forget)
    predicted = predict_out_of_fold(dataset, tmp_path, recipe, recipe.candidates[1], {"inverse_penalty": 1.0}, 1.0)

    assert predicted["id"].tolist() == images["id"].tolist()
    assert predicted.groupby(images["group"])["fold"].nunique().eq(1).all()
    assert np.bincount(predicted["fold"]).min() > 0.1 * len(images)
    guesses = np.where(predicted["probability_dog"] > 0.5, "dog", "cat")
    in_train = predicted["id"].isin(train["id"])
    # Breeds are large groups of one class, so a fold can lack some of it; judge the photos that stand alone.
    alone = in_train & (images["source"] == "dogs-vs-cats")
    assert least <= (guesses == images["label"])[alone].mean() <= most


def test_a_class_that_is_frequent_where_nothing_is_balanced_gets_no_lead(
    archives: list[Archive], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A weak head that was sharpened, as few images make it, would call everything by the class that validation and test have most of."""
    recipe = parse_recipe(RECIPE, overrides=("balance=undersample",))
    fuse(archives, recipe, tmp_path)
    dataset = Dataset(tmp_path)
    images = pd.concat([dataset.rows(split) for split in SPLITS], ignore_index=True)
    is_dog, num_train = (images["label"] == "dog").to_numpy(), len(dataset.rows("train"))
    assert is_dog[:num_train].mean() == 0.5
    assert is_dog[num_train:].mean() > 0.6
    noise = np.random.default_rng(0).normal(size=(len(images), 50))
    set_features(noise + 0.3 * is_dog[:, np.newaxis], num_train, monkeypatch)
    predicted = predict_out_of_fold(dataset, tmp_path, recipe, recipe.candidates[1], {"inverse_penalty": 1e-4}, 0.1)
    is_right = (predicted["probability_dog"] > 0.5).to_numpy() == is_dog
    assert min(is_right[is_dog].mean(), is_right[~is_dog].mean()) > 0.7


def test_a_class_too_rare_to_be_learned_in_every_fold_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as written:
        for number in range(60):
            written.writestr(f"{'rare' if number % 10 == 0 else 'ab'[number % 2]}/{number}.jpg", encode(scene(number)))
    recipe = parse_recipe(RECIPE)
    source = Source(name="photos", provider="local", layout="class_folders")
    fuse([Archive(source, tmp_path / "photos.zip", {"origin": "test", "generated": False})], recipe, tmp_path)
    dataset = Dataset(tmp_path)
    images = pd.concat([dataset.rows(split) for split in SPLITS], ignore_index=True)
    set_features(np.random.default_rng(0).normal(size=(len(images), 5)), len(dataset.rows("train")), monkeypatch)
    # All of one litter, so that whoever is to tell them has seen none.
    dataset.manifest.loc[dataset.manifest["label"] == "rare", "group"] = "litter"
    predicted = predict_out_of_fold(dataset, tmp_path, recipe, recipe.candidates[1], {"inverse_penalty": 1.0}, 1.0)
    probabilities = predicted[[f"probability_{name}" for name in ("a", "b", "rare")]].to_numpy()
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0)
    assert 0 < (probabilities[:, 2] == 0).sum() < len(images)
