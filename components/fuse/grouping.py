"""Groups of images that must not be told apart, and the rule that keeps a group in one split while the data grows.

A group is everything that a breed (or whatever group the layout gives), identical bytes or near-duplicates connect, across sources and
classes. The rule has three parts:

1. The split of an image follows from a hash of its own key, its breed or else its bytes, and from nothing else. No image, however
   similar, can therefore carry another one into another split.
2. Where images that must not be told apart have different splits by part 1, the one that came later is rejected, and with it the bridge
   between the two splits. Images of an earlier dataset (`sources.previous`) came before all others, the others in reading order.
3. What an earlier dataset placed keeps its split, even if seed or shares have changed since.

So old images never move when new data is appended, or is mixed in anywhere and the earlier dataset is named. Why a rule without any memory
cannot do the latter: docs/adr/0004-stable-split.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from components.common.dataset import MANIFEST
from components.common.errors import PawflowError
from components.common.recipe import Recipe
from components.fuse.evidence import PLACEMENT
from components.fuse.near_duplicates import Rows
from components.fuse.splitting import choose_split


@dataclass(frozen=True)
class Placement:
    """Where earlier images are and where new ones belong.

    Attributes:
        recipe: Shares and seed.
        splits: Bytes (sha256), breed or declared group -> split, of everything that the earlier dataset placed.
        ids: Images that it placed.
    """

    recipe: Recipe
    splits: dict[str, str] = field(default_factory=dict)
    ids: frozenset[str] = frozenset()

    def choose(self, group: str, sha256: str) -> str:
        """The split of an image, given its own key and its bytes."""
        known = self.splits.get(sha256) or self.splits.get(group)
        return known or choose_split(group, self.recipe.split, self.recipe.seed)

    def is_old(self, manifest: pd.DataFrame) -> pd.Series:
        """Which rows the earlier dataset placed: boolean, aligned with `manifest`."""
        return manifest["id"].isin(self.ids) & manifest["sha256"].isin(self.splits.keys())


def find_manifest(previous: Path) -> Path:
    """The manifest of an earlier dataset, given its folder or the file itself.

    Raises:
        PawflowError: There is none.
    """
    path = previous / MANIFEST if previous.is_dir() else previous
    if not path.is_file():
        raise PawflowError(
            f"sources.previous is {previous}, where there is no {MANIFEST}; expected the output folder of an earlier fuse step"
        )
    return path


def find_memory(previous: Path) -> list[Path]:
    """What tells where an earlier dataset has its images: the manifest and, if they are beside it, the keys by which it placed them.

    Raises:
        PawflowError: There is no manifest.
    """
    manifest = find_manifest(previous)
    keys = manifest.with_name(PLACEMENT)
    return [manifest, keys] if keys.is_file() else [manifest]


def read_placement(recipe: Recipe) -> Placement:
    """The rule for a recipe, with the memory of `sources.previous` if it names one."""
    if recipe.sources.previous is None:
        return Placement(recipe)
    manifest, *keys = find_memory(recipe.sources.previous)
    placed = pd.read_parquet(manifest, columns=["id", "sha256", "breed", "group", "split"]).dropna(subset=["split"])
    # A manifest by itself knows all breeds, but of the declared groups only those that a whole group is named after.
    known = placed["id"].map(pd.read_parquet(keys[0]).set_index("id")["key"]) if keys else placed["breed"].fillna(placed["group"])
    named = placed.assign(key=known).dropna(subset=["key"])
    splits = dict(zip(named["key"], named["split"], strict=True)) | dict(zip(placed["sha256"], placed["split"], strict=True))
    return Placement(recipe, splits, frozenset(placed["id"]))


def assign_groups(manifest: pd.DataFrame, pairs: Rows, old: pd.Series) -> int:
    """Reject what would bridge two splits, and name the group of every image that stays.

    Args:
        manifest: Its used rows have their own key in `group` and the split of that key in `split`; both columns and, where an image is
            rejected, `status` and `reason` are set.
        pairs: Near-duplicates among the used rows, as positions in `manifest`, shape (n, 2).
        old: Which rows an earlier dataset placed.

    Returns:
        How many were rejected.

    Raises:
        PawflowError: Two old images cannot both stay.
    """
    used = manifest.index[manifest["status"] == "used"].to_numpy()
    own = manifest["group"].to_numpy()
    split = manifest["split"].to_numpy()
    names = manifest["id"].to_numpy()
    is_old = old.to_numpy()
    # Earlier images first, each kind in reading order.
    rank = np.empty(len(manifest), np.int64)
    rank[np.lexsort([np.arange(len(manifest)), ~is_old])] = np.arange(len(manifest))
    rejected: dict[int, str] = {}
    for first, later in _find_bridges(own, split, rank, used, pairs):
        if first in rejected or later in rejected:
            continue
        ids = names[first], names[later]
        if is_old[later]:
            raise PawflowError(
                f"the earlier dataset has {ids[0]} in {split[first]} and {ids[1]} in {split[later]}, but they belong to one group; it was "
                "made by other rules, so its split cannot be kept: remove sources.previous from the recipe and split anew"
            )
        rejected[later] = (
            f"would bridge two splits: it belongs to {split[later]}, but is of one group with {ids[0]}, which is in {split[first]}"
        )
    # All at once: setting one value of a column of text writes the whole column.
    left_out = manifest.index[list(rejected)]
    manifest.loc[left_out, ["status", "split"]] = ["rejected", None]
    manifest.loc[left_out, "reason"] = list(rejected.values())
    kept = np.setdiff1d(used, np.fromiter(rejected, np.int64, len(rejected)))
    manifest.loc[manifest.index[kept], "group"] = _name_groups(own, rank, kept, pairs)
    return len(rejected)


def _find_bridges(own: NDArray[np.object_], split: NDArray[np.object_], rank: Rows, used: Rows, pairs: Rows) -> Iterator[tuple[int, int]]:
    """Pairs (earlier, later) in different splits, in the order in which the later ones came."""
    bridges = pairs[split[pairs[:, 0]] != split[pairs[:, 1]]]
    # Two images with the same key differ in split only if an earlier dataset was split by another seed or other shares.
    members = pd.DataFrame({"row": used, "key": own[used], "split": split[used], "rank": rank[used]}).sort_values("rank")
    leaders = members.groupby("key")[["row", "split"]].transform("first")
    strays = members[leaders["split"] != members["split"]]
    same_key = np.column_stack([leaders.loc[strays.index, "row"].to_numpy(np.int64), strays["row"].to_numpy(np.int64)])
    bridges = np.concatenate([bridges, same_key])
    swap = rank[bridges[:, 0]] > rank[bridges[:, 1]]
    bridges[swap] = bridges[swap][:, ::-1]
    yield from map(tuple, bridges[np.lexsort([rank[bridges[:, 0]], rank[bridges[:, 1]]])].tolist())


def _name_groups(own: NDArray[np.object_], rank: Rows, kept: Rows, pairs: Rows) -> NDArray[np.object_]:
    """The name of the group of each kept row: the own key of its earliest member."""
    keys, names = pd.factorize(own[kept])
    key_of = np.full(len(own), -1)
    key_of[kept] = keys
    linked = key_of[pairs][(key_of[pairs] >= 0).all(axis=1)]
    graph = coo_matrix((np.ones(len(linked), np.int8), (linked[:, 0], linked[:, 1])), shape=(len(names), len(names)))
    _, component = connected_components(graph, directed=False)
    members = pd.DataFrame({"component": component[keys], "rank": rank[kept], "key": own[kept]})
    earliest = members.sort_values("rank").groupby("component")["key"].first()
    return np.asarray(earliest.loc[members["component"]].to_numpy(), dtype=object)
