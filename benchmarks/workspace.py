"""Where one population is measured: a folder with `recipe.yaml`, and what the steps have made of it so far in `raw`, `dataset`, `views`."""

from __future__ import annotations

import shutil
from pathlib import Path

from components.common.dataset import SPLITS, Dataset
from components.common.recipe import Recipe, load_recipe
from components.common.shards import Images, list_shards
from components.fuse.layouts import read_entries

RECIPE, RAW, DATASET, VIEWS = "recipe.yaml", "raw", "dataset", "views"
#: The photos as others want them: a folder for each split, in it one for each class.
FILES = "files"
#: Of PAWFLOW_HOME, which holds the steps' cache.
HOME = "home"


def read_recipe(workspace: Path) -> Recipe:
    """The recipe of a workspace."""
    return load_recipe(str(workspace / RECIPE))


def find_archive(workspace: Path) -> Path:
    """What the download step has fetched."""
    return next((workspace / RAW).glob("*.zip"))


def open_images(dataset: Dataset) -> Images:
    """The pixels of all splits."""
    return Images([file for split in SPLITS for file in list_shards(dataset.folder, split)])


def write_files(workspace: Path) -> None:
    """Write the encoded photos of the training and the test split to `FILES`."""
    archive = read_recipe(workspace).sources.archives[0]
    manifest = Dataset(workspace / DATASET).manifest
    used = manifest.loc[manifest["split"].isin(["train", "test"]), ["path", "split", "label", "id"]]
    places = {path: Path(split, label, identifier.replace("/", "_")) for path, split, label, identifier in used.to_numpy()}
    for entry in read_entries(archive.layout, find_archive(workspace)):
        if entry.data is not None and entry.path in places:
            file = workspace / FILES / places[entry.path]
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(entry.data)


def start_over(workspace: Path, name: str) -> Path:
    """Where to write anew; neither an earlier output nor the cache may spare the work."""
    shutil.rmtree(workspace / name, ignore_errors=True)
    shutil.rmtree(workspace / HOME, ignore_errors=True)
    return workspace / name
