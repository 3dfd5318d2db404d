"""The parts of fuse by themselves, the floor under them, and the reading of what it wrote.

Every function prepares itself and returns the work to be timed (`benchmarks.common.Task`).
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.workspace import DATASET, find_archive, open_images, read_recipe, start_over
from components.common.dataset import SPLITS, Dataset
from components.fuse.audit import audit as audit_dataset
from components.fuse.decoding import Archive, decode_archives
from components.fuse.grouping import read_placement
from components.fuse.hashing import read_hashes
from components.fuse.layouts import read_entries
from components.fuse.near_duplicates import find_near_duplicates
from components.fuse.proof import PROOF, prove
from serving.images import UnreadableImageError, read_photo

_BATCH = 32


def floor(workspace: str) -> Callable[[], object]:
    """What no way of fusing can do without: read each file, decode it, resize it. In one thread, which takes the fewest CPU-seconds."""
    recipe, archive = read_recipe(Path(workspace)), find_archive(Path(workspace))

    def work() -> None:
        for entry in read_entries(recipe.sources.archives[0].layout, archive):
            try:
                read_photo(entry.data or b"", recipe.image_size, recipe.resize)
            except UnreadableImageError:
                continue

    return work


def decode(workspace: str) -> Callable[[], object]:
    """Read, decode and hash the archive, and write its pixels."""
    recipe, folder = read_recipe(Path(workspace)), start_over(Path(workspace), "decoded")
    folder.mkdir()
    archive = Archive(recipe.sources.archives[0], find_archive(Path(workspace)), {})
    return lambda: decode_archives([archive], recipe, read_placement(recipe), folder)


def search(workspace: str) -> Callable[[], object]:
    """Find near-duplicates, given the hashes."""
    dataset = Dataset(Path(workspace, DATASET))
    images = open_images(dataset)
    hashes = read_hashes([text for split in SPLITS for text in dataset.rows(split)["perceptual_hash"]])
    return lambda: find_near_duplicates(hashes, images.take)


def proof(workspace: str) -> Callable[[], object]:
    """Prove the split from what was written."""
    copy = start_over(Path(workspace), "copy")
    shutil.copytree(Path(workspace, DATASET), copy, copy_function=os.link)
    # The copy shares its files with the dataset, so this one must not be written over.
    (copy / PROOF).unlink()
    return lambda: prove(copy, Dataset(copy).classes)


def audit(workspace: str) -> Callable[[], object]:
    """Ask whether the source predicts the class."""
    return lambda: audit_dataset(Dataset(Path(workspace, DATASET)), seed=0)


def epoch(workspace: str) -> Callable[[], object]:
    """One shuffled pass over all shards in batches."""
    images = open_images(Dataset(Path(workspace, DATASET)))

    def work() -> None:
        order = np.random.default_rng(0).permutation(len(images))
        for start in range(0, len(order), _BATCH):
            images.take(order[start : start + _BATCH])

    return work
