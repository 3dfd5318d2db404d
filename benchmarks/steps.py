"""The data steps as their commands run them: with the cache, hashing of what they wrote, and an MLflow run each.

Every function prepares itself and returns the work to be timed (`benchmarks.common.Task`).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from benchmarks.workspace import DATASET, RAW, RECIPE, VIEWS, read_recipe, start_over
from components.augment import run as augment
from components.download import run as download
from components.fuse import run as fuse


def run_download(workspace: str) -> Callable[[], object]:
    """Fetch, verify and hash the archive."""
    folder, source = start_over(Path(workspace), RAW), read_recipe(Path(workspace)).sources.archives[0]
    return lambda: download.run(recipe=f"{workspace}/{RECIPE}", source=source.name, out=folder)


def run_fuse(workspace: str) -> Callable[[], object]:
    """All of fuse."""
    folder = start_over(Path(workspace), DATASET)
    return lambda: fuse.run(recipe=f"{workspace}/{RECIPE}", raw=[Path(workspace, RAW)], out=folder)


def run_augment(workspace: str) -> Callable[[], object]:
    """One varied view of each training image."""
    folder = start_over(Path(workspace), VIEWS)
    return lambda: augment.run(recipe=f"{workspace}/{RECIPE}", dataset=Path(workspace, DATASET), out=folder)
