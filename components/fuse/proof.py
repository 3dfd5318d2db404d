"""The proof that nothing crosses the split, from what was written and not from what was intended.

In: a finished dataset folder, manifest and shards. Out: `split_proof.json`: which pairs were checked, by kind, and that none crosses. The
step fails otherwise. Nothing here uses the code or the intermediate values that chose the splits: perceptual hashes are taken anew from
the stored pixels, and images of different splits are compared all with all. That comparison is the one part of fusion whose time grows
with the square: about half a second for 23,000 images, 10 s for 100,000.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path

import imagehash
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from components.common.dataset import SPLITS, Dataset, Images
from components.common.errors import PawflowError
from components.common.progress import track
from components.fuse.near_duplicates import LARGEST_DIFFERENCE, RADIUS, Hashes, Rows, compare
from components.fuse.splitting import prove_split
from serving.images import Pixels

PROOF = "split_proof.json"

_BLOCK = 1 << 22
_BATCH = 256


def prove(folder: Path, classes: list[str]) -> dict[str, object]:
    """Recount a dataset and write the proof beside it.

    Args:
        folder: Holds the manifest and the shards.
        classes: Names of all classes.

    Returns:
        For each kind of key the pairs checked and those that cross, which are 0.

    Raises:
        PawflowError: Something crosses, a split lacks a class, or manifest and shards disagree.
    """
    dataset = Dataset(folder)
    proof = prove_split(dataset.manifest, classes) | {"near_duplicate": _prove_near_duplicates(dataset)}
    statement = {"crossing": 0, "images": {split: len(dataset.rows(split)) for split in SPLITS}, "checked": proof}
    (folder / PROOF).write_text(json.dumps(statement, indent=1))
    return proof


def _prove_near_duplicates(dataset: Dataset) -> dict[str, object]:
    images = {split: dataset.images(split) for split in SPLITS}
    rows = {split: dataset.rows(split) for split in SPLITS}
    for split in SPLITS:
        if len(images[split]) != len(rows[split]):
            raise PawflowError(f"the manifest has {len(rows[split])} {split} images, but the shards hold {len(images[split])}; fuse again")
    hashes = {split: _hash(images[split], split) for split in SPLITS}
    num_pairs, num_compared = 0, 0
    for one, other in itertools.combinations(SPLITS, 2):
        close = _find_close(hashes[one], hashes[other])
        num_pairs += len(hashes[one]) * len(hashes[other])
        num_compared += len(close)
        crossing = close[_differences(close, images[one], images[other]) <= LARGEST_DIFFERENCE]
        if len(crossing):
            pair = rows[one]["id"].iloc[crossing[0, 0]], rows[other]["id"].iloc[crossing[0, 1]]
            raise PawflowError(
                f"the split leaks: {len(crossing)} near-duplicates lie in {one} and {other}, {pair[0]} and {pair[1]} for one; "
                "this is a fault of the fuse step, please report it with the recipe"
            )
    return {
        "pairs": num_pairs,
        "compared_on_pixels": num_compared,
        "crossing": 0,
        "largest_hash_distance": RADIUS,
        "largest_difference": LARGEST_DIFFERENCE,
    }


def _hash(images: Images, split: str) -> Hashes:
    """Perceptual hashes of the stored squares, packed from their 64 bits."""
    hashes = np.empty(len(images), np.uint64)
    for row, pixels in enumerate(track(_each(images), f"proving {split}", total=len(images))):
        bits = imagehash.phash(Image.fromarray(pixels)).hash.ravel()
        hashes[row] = np.packbits(bits).view(">u8")[0]
    return hashes


def _each(images: Images) -> Iterator[Pixels]:
    for batch in images.batches(_BATCH):
        yield from batch


def _find_close(one: Hashes, other: Hashes) -> Rows:
    """All pairs (row of one, row of other) whose hashes are within the radius, by comparing every one with every other."""
    found = [np.empty((0, 2), np.int64)]
    step = max(1, _BLOCK // max(1, len(other)))
    for start in range(0, len(one), step):
        distance = np.bitwise_count(one[start : start + step, np.newaxis] ^ other[np.newaxis])
        found.append(np.argwhere(distance <= RADIUS) + np.array([start, 0]))
    return np.concatenate(found)


def _differences(pairs: Rows, one: Images, other: Images) -> NDArray[np.float32]:
    """Difference on pixels of each pair; rows of `other` follow those of `one` in the numbering that `compare` reads by."""

    def read(rows: Rows) -> Pixels:
        return np.stack([(one[int(row)] if row < len(one) else other[int(row) - len(one)]) for row in rows])

    return compare(pairs + np.array([0, len(one)]), read)


def list_conflicts(manifest: pd.DataFrame, pairs: Rows) -> list[dict[str, object]]:
    """Identical files and near-duplicates whose labels differ: one of the two labels is wrong, or neither animal is there.

    Args:
        manifest: Rows with `id`, `sha256`, `label`, `status` and `split`.
        pairs: Near-duplicates as positions in `manifest`, shape (n, 2).
    """
    labelled = manifest[manifest["label"].notna() & manifest["sha256"].notna()]
    shared = labelled[labelled.groupby("sha256")["label"].transform("nunique") > 1]
    identical = [list(copies.index) for _, copies in shared.groupby("sha256", sort=False)]
    labels = manifest["label"].to_numpy()
    near = [manifest.index[pair].tolist() for pair in pairs if labels[pair[0]] != labels[pair[1]]]
    described = manifest[["id", "label", "status"]]
    return [
        {"kind": kind, "images": described.loc[rows].to_dict("records")}
        for kind, conflicts in (("identical", identical), ("near_duplicate", near))
        for rows in conflicts
    ]
