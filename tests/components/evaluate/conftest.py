"""Small datasets whose labels can be doubted, for the tests of suspects and of their page."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from components.common.dataset import SPLITS, Dataset
from components.common.recipe import Source, parse_recipe
from components.fuse.fuse import Archive, fuse
from tests.components.fuse.drawing import encode, scene, write_dogs_vs_cats
from tests.conftest import RECIPE

EARLIER = {40: "drop", 42: "relabel", 44: "keep"}
PREFIX = "dogs-vs-cats/train.zip/train/"
CLASSES = ["no", "1e3", 'the "other" one', "{a: b}, # c", "chat \U0001f408", "<b>dog"]


def fuse_with(archive: Archive, decisions: object, folder: Path) -> Dataset:
    """The dataset of an archive after some decisions: a list of entries, or the path of a file."""
    file = decisions if isinstance(decisions, Path) else folder / "given.yaml"
    if not isinstance(decisions, Path):
        file.write_text(yaml.safe_dump(decisions))
    out = folder / f"dataset-{len(list(folder.iterdir()))}"
    out.mkdir()
    fuse([archive], parse_recipe(RECIPE, overrides=(f"decisions={file}",)), out)
    return Dataset(out)


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Archive:
    """Cats and dogs, with one of the known suspects."""
    files = {f"{'cat' if number % 2 else 'dog'}.{number}.jpg": encode(scene(number)) for number in range(60)}
    return write_dogs_vs_cats(tmp_path_factory.mktemp("archive") / "a.zip", files | {"cat.4085.jpg": encode(scene(4085))})


@pytest.fixture(scope="module")
def decided(archive: Archive, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """The same after a decision of each kind."""
    entries = [
        {"id": f"{PREFIX}dog.40.jpg", "action": "drop", "why": "a text & no animal"},
        {"id": f"{PREFIX}dog.42.jpg", "action": "relabel", "label": "cat", "why": 'it is a "cat"'},
        {"id": f"{PREFIX}dog.44.jpg", "action": "keep", "why": "looked twice"},
    ]
    return fuse_with(archive, entries, tmp_path_factory.mktemp("decided"))


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Six classes whose names mean something to YAML or HTML."""
    folder = tmp_path_factory.mktemp("many")
    with zipfile.ZipFile(folder / "photos.zip", "w") as written:
        for number in range(60):
            written.writestr(f"{CLASSES[number % 6]}/it's {number}: #1.jpg", encode(scene(number)))
    source = Source(name="photos", provider="local", layout="class_folders")
    return fuse_with(Archive(source, folder / "photos.zip", {"origin": "test", "generated": False}), [], folder)


def predict(dataset: Dataset, wrong: set[str], sure: float = 0.97) -> pd.DataFrame:
    """Out-of-fold predictions that agree with every label but those of some images."""
    rows = pd.concat([dataset.rows(split) for split in SPLITS])
    rng = np.random.default_rng(0)
    is_dog = (rows["label"] == "dog") ^ rows["id"].isin(wrong)
    dog = np.where(is_dog, sure, 1 - sure) + rng.uniform(-0.02, 0.02, len(rows))
    return pd.DataFrame({"probability_cat": 1 - dog, "probability_dog": dog}, index=pd.Index(rows["id"]))


def doubt_everything(dataset: Dataset) -> pd.DataFrame:
    """A table of suspects with every image of a split, each of which is said to be of the next class."""
    rows = pd.concat([dataset.rows(split) for split in SPLITS], ignore_index=True)
    following = dict(zip(dataset.classes, [*dataset.classes[1:], dataset.classes[0]], strict=True))
    table = rows[["id", "split", "label"]].assign(suggested_label=rows["label"].map(following), self_confidence=0.01)
    return table.assign(rank=rows.index + 1, suggested_probability=0.95, confident=True, votes=0, decision=None)
