"""Where one population is measured: a folder with `recipe.yaml`, and what the steps have made of it so far in `raw`, `dataset`, `views`."""

from __future__ import annotations

import shutil
from pathlib import Path

from components.common.dataset import SPLITS, Dataset
from components.common.recipe import Recipe, load_recipe
from components.common.shards import Images, list_shards

RECIPE, RAW, DATASET, VIEWS = "recipe.yaml", "raw", "dataset", "views"
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


def start_over(workspace: Path, name: str) -> Path:
    """Where to write anew; neither an earlier output nor the cache may spare the work."""
    shutil.rmtree(workspace / name, ignore_errors=True)
    shutil.rmtree(workspace / HOME, ignore_errors=True)
    return workspace / name
