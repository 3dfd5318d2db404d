"""The proof that nothing crosses the split, from what was written and not from what was intended.

In: a finished dataset folder, manifest and shards. Out: `split_proof.json`: which pairs were checked, by kind, and that none crosses. The
step fails otherwise. Nothing here uses the code or the intermediate values that chose the splits: perceptual hashes are taken anew from
the stored pixels, and pairs are found in another way.

That way covers every pair of images of different splits without looking at each. Two hashes at most 7 bits apart differ in at most 7 of
10 blocks of bits, so they agree in 3 others; sorting all hashes by each choice of 3 blocks in turn brings every such pair together at
least once. The time is that of 120 sorts, and the statement says how many pairs are covered and how many were looked at.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from components.common.dataset import SPLITS, Dataset
from components.common.errors import PawflowError
from components.common.parallel import map_on_all_cores
from components.common.progress import track
from components.common.shards import Images, list_shards
from components.fuse.hashing import Hashes, hash_squares
from components.fuse.near_duplicates import LARGEST_DIFFERENCE, RADIUS, Rows, compare
from components.fuse.splitting import prove_split

PROOF = "split_proof.json"

_NUM_BLOCKS, _NUM_AGREEING = RADIUS + 3, 3
#: Bit i is in block i modulo the number of blocks, so that neighbouring frequencies, which resemble one another, are in different ones.
_BLOCKS = [sum(1 << bit for bit in range(block, 64, _NUM_BLOCKS)) for block in range(_NUM_BLOCKS)]
_MASKS = [np.uint64(sum(blocks)) for blocks in itertools.combinations(_BLOCKS, _NUM_AGREEING)]


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
    rows = pd.concat([dataset.rows(split) for split in SPLITS], ignore_index=True)
    for split in SPLITS:
        expected, found = int((rows["split"] == split).sum()), len(dataset.images(split))
        if expected != found:
            raise PawflowError(f"the manifest has {expected} {split} images, but the shards hold {found}; fuse again")
    images = Images([file for split in SPLITS for file in list_shards(dataset.folder, split)])
    batches = track(images.batches(), "proving", total=-(-len(images) // 256), unit="batch")
    hashes = np.concatenate(list(map_on_all_cores(hash_squares, batches)))
    splits = rows["split"].map(SPLITS.index).to_numpy(np.int8)
    close, num_examined = _find_crossing(hashes, splits)
    crossing = close[compare(close, images.take) <= LARGEST_DIFFERENCE]
    if len(crossing):
        one, other = (rows.iloc[row] for row in crossing[0])
        raise PawflowError(
            f"the split leaks: {len(crossing)} near-duplicates lie in different splits, {one['id']} in {one['split']} and "
            f"{other['id']} in {other['split']} for one; this is a fault of the fuse step, please report it with the recipe"
        )
    sizes = np.bincount(splits)
    return {
        "pairs": sum(int(one * other) for one, other in itertools.combinations(sizes, 2)),
        "examined": num_examined,
        "compared_on_pixels": len(close),
        "crossing": 0,
        "largest_hash_distance": RADIUS,
        "largest_difference": LARGEST_DIFFERENCE,
    }


def _find_crossing(hashes: Hashes, splits: NDArray[np.int8]) -> tuple[Rows, int]:
    """All pairs of images in different splits whose hashes are within the radius, shape (n, 2), and how many pairs were looked at."""
    # Many images of one split may share a hash; pairs among those do not matter, so each hash counts once in a split.
    kinds, kind_of = np.unique(np.column_stack([hashes, splits.astype(np.uint64)]), axis=0, return_inverse=True)
    found, num_examined = [np.empty((0, 2), np.int64)], 0
    for mask in _MASKS:
        for pairs in _pair_equal(kinds[:, 0] & mask):
            num_examined += len(pairs)
            (left, left_split), (right, right_split) = kinds[pairs[:, 0]].T, kinds[pairs[:, 1]].T
            found.append(pairs[(left_split != right_split) & (np.bitwise_count(left ^ right) <= RADIUS)])
    close = np.unique(np.sort(np.concatenate(found), axis=1), axis=0)
    order, sizes = np.argsort(kind_of, kind="stable"), np.bincount(kind_of, minlength=len(kinds))
    starts = np.cumsum(sizes) - sizes
    # Every member of the one kind with every member of the other.
    repeats = sizes[close[:, 0]] * sizes[close[:, 1]]
    number = np.arange(repeats.sum()) - np.repeat(np.cumsum(repeats) - repeats, repeats)
    one, other = np.repeat(close, repeats, axis=0).T
    return np.column_stack([order[starts[one] + number // sizes[other]], order[starts[other] + number % sizes[other]]]), num_examined


def _pair_equal(keys: Hashes) -> Iterator[Rows]:
    """Every pair of rows whose keys are equal, shape (n, 2): in sorted order, all neighbours, then all at distance 2, and so on."""
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    first = np.arange(len(keys))
    for distance in range(1, len(keys)):
        first = first[: np.searchsorted(first, len(keys) - distance)]
        first = first[ordered[first] == ordered[first + distance]]
        if not len(first):
            return
        yield np.column_stack([order[first], order[first + distance]])


def list_conflicts(manifest: pd.DataFrame, pairs: Rows) -> list[dict[str, object]]:
    """Identical files and near-duplicates whose labels differ: one of the two labels is wrong, or neither animal is there.

    Args:
        manifest: Rows with `id`, `sha256`, `label`, `status` and `split`.
        pairs: Near-duplicates as positions in `manifest`, shape (n, 2).
    """
    labelled = manifest[manifest["label"].notna() & manifest["sha256"].notna()]
    shared = labelled[labelled.groupby("sha256")["label"].transform("nunique") > 1]
    labels = manifest["label"].to_numpy()
    near = manifest.index.to_numpy()[pairs[labels[pairs[:, 0]] != labels[pairs[:, 1]]]]
    described = dict(zip(manifest.index, manifest[["id", "label", "status"]].to_dict("records"), strict=True))
    return [
        {"kind": kind, "images": [described[row] for row in rows]}
        for kind, conflicts in (("identical", shared.groupby("sha256", sort=False).groups.values()), ("near_duplicate", near))
        for rows in conflicts
    ]
