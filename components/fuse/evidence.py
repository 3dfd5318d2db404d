"""What fuse knew when it decided, kept for people who ask why.

In: the manifest while fusion goes on. Out: three small files of the dataset folder, for pages and people. `near_duplicates.parquet` has a
row for each pair that shows one picture, `placement.parquet` the key by which each image was placed, before groups were joined, and
`exhibits.zip` thumbnails of a few images that are not in any shard. No later step reads them, but a later fusion that is to keep the split
reads the keys.
"""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pandas as pd

from components.common.album import make_thumbnail
from components.common.dataset import EXHIBITS, SPLITS
from components.common.shards import Images, list_shards
from components.fuse.hashing import read_hashes
from components.fuse.near_duplicates import Rows, Search

NEAR_DUPLICATES = "near_duplicates.parquet"
PLACEMENT = "placement.parquet"

_MOST_EXHIBITS = 24
_MOST_PAIRED_EXHIBITS = 96


def record_near_duplicates(manifest: pd.DataFrame, search: Search, folder: Path) -> None:
    """Write the pairs that were found: both ids, the bits in which their hashes differ (0 to 64), and their difference on pixels.

    Args:
        manifest: What the pairs are positions in.
        search: Its outcome.
        folder: Of the dataset.
    """
    first, later = search.pairs[:, 0], search.pairs[:, 1]
    hashes = manifest["perceptual_hash"]
    bits = np.bitwise_count(read_hashes(hashes.iloc[first].tolist()) ^ read_hashes(hashes.iloc[later].tolist()))
    ids = manifest["id"].to_numpy()
    pairs = pd.DataFrame({"first": ids[first], "later": ids[later], "bits": bits, "difference": search.differences})
    pairs.astype({"first": "str", "later": "str"}).to_parquet(folder / NEAR_DUPLICATES, index=False)


def record_placement(manifest: pd.DataFrame, old: pd.Series, folder: Path) -> None:
    """Write by which key each image was placed; call it before groups take the place of keys.

    Args:
        manifest: Rows with `group`, each image's own key, and `split`, that of the key.
        old: Which rows an earlier dataset placed.
        folder: Of the dataset.
    """
    placed = manifest[manifest["split"].notna()]
    # An image's own bytes are in the manifest already, and long.
    key = placed["group"].where(placed["group"] != placed["sha256"])
    table = pd.DataFrame({"id": placed["id"], "key": key, "split": placed["split"], "earlier": old[placed.index]})
    table.astype({"id": "str", "key": "str", "split": "str", "earlier": bool}).to_parquet(folder / PLACEMENT, index=False)


def record_exhibits(manifest: pd.DataFrame, own_split: pd.Series, pairs: Rows, folder: Path) -> None:
    """Write thumbnails of the first images of each status that leaves the shards, and of those in pairs of near-duplicates.

    Args:
        manifest: Rows with `status`, `split` and `row`, the place of the pixels among those of the image's own split.
        own_split: The split that each image was written to, aligned with `manifest`.
        pairs: Near-duplicates as positions in `manifest`, shape (n, 2).
        folder: Of the dataset; its shards still hold every image that was written.
    """
    candidates = manifest[manifest["split"].isna() & manifest["row"].notna()]
    paired = candidates.loc[candidates.index.intersection(manifest.index[np.unique(pairs)])].head(_MOST_PAIRED_EXHIBITS)
    chosen = candidates.groupby("status").head(_MOST_EXHIBITS).index.union(paired.index)
    images = {split: Images(list_shards(folder, split)) for split in SPLITS}
    with zipfile.ZipFile(folder / EXHIBITS, "w") as archive:
        for identifier, split, row in zip(manifest.loc[chosen, "id"], own_split[chosen], manifest.loc[chosen, "row"], strict=True):
            archive.writestr(zipfile.ZipInfo(identifier), make_thumbnail(images[split][int(row)]))
