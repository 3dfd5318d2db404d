"""Kinds of test images that are judged apart, and the one that the headline is about.

In: a dataset and its recipe. Out: a table with a row for each test image and a column for each way to divide them. How large, bright or
sharp an image is, is told in quarters of the test split, because absolute bounds would suit one collection only.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from components.common.confounding import TELLING_LEVELS, find_clean, read_audit
from components.common.dataset import SPLITS, Dataset
from components.common.parallel import map_on_all_cores
from components.common.recipe import Recipe
from serving.images import Pixels

#: What an image is like -> what is measured. The table has a column of quarters for each.
MEASURES = {
    "size": "geometric mean of width and height, in pixels",
    "aspect": "width over height",
    "brightness": "mean level, 0 to 255",
    "sharpness": "standard deviation of the Laplacian; a blurred photo has little",
}
COLUMNS = ("source", "breed", "breed_in_training", "unconfounded", "imagenet", *MEASURES)

#: Layouts of archives whose photos were taken from ImageNet, so that pretrained networks have very probably seen them.
_FROM_IMAGENET = frozenset({"dog_breeds"})
_NUM_QUARTERS = 4


@dataclass(frozen=True)
class Headline:
    """What the headline figure is about.

    Attributes:
        columns: Columns of `describe_images` that must say so -> what.
        words: The same for people, to follow "on".
        caveat: What a reader has to know of it; empty if nothing.
    """

    columns: dict[str, str]
    words: str
    caveat: str

    def select(self, images: pd.DataFrame) -> NDArray[np.bool_]:
        """Which rows of a table with these columns belong to it, shape (rows,)."""
        chosen = np.ones(len(images), bool)
        for column, value in self.columns.items():
            chosen &= (images[column] == value).to_numpy(bool)
        return chosen


def describe_origins(dataset: Dataset, recipe: Recipe) -> pd.DataFrame:
    """Of every image with a split, those columns that follow from where it is from, with its id, group, label and split."""
    rows = pd.concat([dataset.rows(split) for split in SPLITS], ignore_index=True)
    layouts = {source.name: source.layout for source in recipe.sources.archives}
    table = rows[["id", "split", "group", "label", "source", "breed"]].copy()
    trained = rows.loc[rows["split"] == "train", "breed"]
    table["breed_in_training"] = rows["breed"].isin(trained).map({True: "yes", False: "no"}).where(rows["breed"].notna())
    table["unconfounded"] = rows["unconfounded"].map({True: "yes", False: "no"})
    table["imagenet"] = rows["source"].map(layouts).isin(_FROM_IMAGENET).map({True: "probably seen", False: "probably not seen"})
    return table


def describe_images(dataset: Dataset, recipe: Recipe) -> tuple[pd.DataFrame, dict[str, dict[str, str]]]:
    """All columns of the test images, in the order of the dataset, and for each measure the range of each quarter."""
    origins = describe_origins(dataset, recipe)
    table = origins[origins["split"] == "test"].reset_index(drop=True)
    rows, images = dataset.rows("test"), dataset.images("test")
    width, height = rows["width"].to_numpy(np.float64), rows["height"].to_numpy(np.float64)
    measured = np.array(list(map_on_all_cores(lambda row: _measure(images[row]), range(len(images)))))
    values = {"size": np.sqrt(width * height), "aspect": width / height, "brightness": measured[:, 0], "sharpness": measured[:, 1]}
    ranges = {}
    for name, column in values.items():
        table[name], ranges[name] = _quarter(column)
    return table, ranges


def choose_headline(images: pd.DataFrame, dataset: Dataset) -> Headline:
    """The un-confounded test images that backbones have probably not seen; as much of that as there is.

    Where the audit says that the files of these images tell the class all the same, the headline says so too.
    """
    headline, audit = _choose_kind(images, files_tell=False), read_audit(dataset)
    if audit["level"] not in TELLING_LEVELS or set(images.loc[headline.select(images), "id"]) <= find_clean(dataset, "test"):
        return headline
    headline = _choose_kind(images, files_tell=True)
    auc = float(audit["probes"]["class_from_file"]["auc"])
    seen = "size, bytes, format, encoder"
    told = f"confounding is {audit['level']}: the audit tells the class from the files alone ({seen}) with AUC {auc:.2f}"
    caveats = [f"{told}, so the figure may be about files and not about classes", *([headline.caveat] if headline.caveat else [])]
    return replace(headline, caveat="; ".join(caveats))


def _choose_kind(images: pd.DataFrame, *, files_tell: bool) -> Headline:
    """The cleanest kind that has images of every class; where files tell the class, it is not said that the source tells nothing."""
    sources = ({"unconfounded": "yes"}, f"of sources that hold every class{'' if files_tell else ', so that the source tells nothing'}")
    backbones = ({"imagenet": "probably not seen"}, "that pretrained networks have probably not seen")
    for columns, words, caveat in (
        (sources[0] | backbones[0], f"{sources[1]}, and {backbones[1]}", ""),
        (sources[0], sources[1], "pretrained networks have probably seen these images, so the figure may be too good"),
        (backbones[0], backbones[1], "no source holds enough of every class, so the figure may be about sources and not about classes"),
    ):
        headline = Headline(columns, words, caveat)
        if images.loc[headline.select(images), "label"].nunique() == images["label"].nunique():
            return headline
    return Headline({}, "of every kind", "no kind of image has every class, so the figure may be about sources and not about classes")


def _quarter(values: NDArray[np.float64]) -> tuple[list[str], dict[str, str]]:
    """The quarter of each value, equal values in the same one, and what each quarter spans."""
    bounds = np.quantile(values, np.arange(1, _NUM_QUARTERS) / _NUM_QUARTERS)
    numbers = np.searchsorted(bounds, values, side="left")
    names = [f"quarter {number + 1}" for number in numbers]
    spans = {number: values[numbers == number] for number in np.unique(numbers)}
    return names, {f"quarter {number + 1}": f"{_shorten(part.min())} to {_shorten(part.max())}" for number, part in spans.items()}


def _shorten(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _measure(pixels: Pixels) -> tuple[float, float]:
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    return float(grey.mean()), float(cv2.Laplacian(grey, cv2.CV_16S).std())
