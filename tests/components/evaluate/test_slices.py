from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from components.common.dataset import Dataset
from components.common.recipe import Recipe
from components.evaluate.slices import COLUMNS, MEASURES, choose_headline, describe_images, describe_origins


def test_every_test_image_is_in_a_slice_of_every_kind(dataset: Dataset, recipe: Recipe) -> None:
    images, ranges = describe_images(dataset, recipe)
    assert images["id"].tolist() == dataset.rows("test")["id"].tolist()
    for column in set(COLUMNS) - {"breed", "breed_in_training"}:
        assert images[column].notna().all()
    assert set(images.loc[images["source"] == "dog-breed-identification", "imagenet"]) == {"probably seen"}
    assert set(images.loc[images["source"] == "dogs-vs-cats", "imagenet"]) == {"probably not seen"}
    assert set(images["breed_in_training"].dropna()) == {"no"}, "breeds are split apart"
    rows = dataset.rows("test")
    assert set(MEASURES) == set(ranges)
    levels = (dataset.images("test")[:] @ np.array([0.299, 0.587, 0.114])).mean(axis=(1, 2))
    for name, values in (("aspect", rows["width"] / rows["height"]), ("brightness", levels)):
        quarters = pd.Series(np.asarray(values, np.float64)).groupby(images[name])
        assert (quarters.min().to_numpy()[1:] > quarters.max().to_numpy()[:-1] - 0.01).all()


def test_equal_values_share_a_quarter(dataset: Dataset, recipe: Recipe) -> None:
    dataset = Dataset(dataset.folder)
    dataset.manifest[["width", "height"]] = 100
    images, ranges = describe_images(dataset, recipe)
    assert images["size"].nunique() == 1
    assert list(ranges["size"].values()) == ["100 to 100"]


def test_origins_cover_all_splits(dataset: Dataset, recipe: Recipe) -> None:
    origins = describe_origins(dataset, recipe)
    assert set(origins["split"]) == {"train", "validation", "test"}
    trained = origins[(origins["split"] == "train") & origins["breed"].notna()]
    assert set(trained["breed_in_training"]) == {"yes"}


ROWS = [("cat", "yes", "probably not seen"), ("dog", "yes", "probably not seen")]


@pytest.mark.parametrize(
    ("rows", "columns", "caveat"),
    [
        (ROWS, {"unconfounded": "yes", "imagenet": "probably not seen"}, ""),
        ([("cat", "yes", "probably seen"), ("dog", "yes", "probably seen")], {"unconfounded": "yes"}, "probably seen"),
        ([("cat", "no", "probably not seen"), ("dog", "no", "probably not seen")], {"imagenet": "probably not seen"}, "about sources"),
        ([("cat", "no", "probably not seen"), ("dog", "no", "probably seen")], {}, "about sources"),
        # Two of three classes are not all.
        ([("cat", "yes", "probably not seen"), ("fox", "yes", "probably not seen"), ("dog", "no", "probably seen")], {}, "about sources"),
    ],
)
def test_the_headline_is_about_the_cleanest_images_that_hold_every_class(
    dataset: Dataset, rows: list[tuple[str, str, str]], columns: dict[str, str], caveat: str
) -> None:
    # A slice of one class only is always there to be mistaken for the headline.
    images = pd.DataFrame([*rows, ("dog", "no", "probably seen")], columns=["label", "unconfounded", "imagenet"]).assign(id="x")
    headline = choose_headline(images, dataset)
    assert headline.columns == columns
    assert caveat in headline.caveat
    assert bool(headline.caveat) == bool(caveat)
    assert headline.select(images).sum() == len(images if not columns else rows)


@pytest.mark.parametrize("within", [0.55, 0.8])
def test_a_headline_whose_files_tell_the_class_says_so(dataset: Dataset, recipe: Recipe, within: float) -> None:
    images, _ = describe_images(dataset, recipe)
    told = Dataset(dataset.folder)
    probes = {"class_from_file": {"auc": 0.934}, "class_from_file.dogs-vs-cats": {"auc": within}}
    told.report["audit"] = {"level": "severe", "probes": probes}
    honest, headline = choose_headline(images, dataset), choose_headline(images, told)
    assert "the source tells nothing" in honest.words
    assert headline.columns == honest.columns
    if within < 0.7:
        assert headline == honest, "the files of this source do not tell"
    else:
        assert headline.words == "of sources that hold every class, and that pretrained networks have probably not seen"
        assert "confounding is severe" in headline.caveat
        assert "AUC 0.93" in headline.caveat
