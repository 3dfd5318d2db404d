"""Which split an image belongs to, and the proof that nothing crosses.

The split of a group follows from a hash of its name and the recipe's seed alone, so it does not change when the data grows; see
`components.fuse.grouping` for what a group is.
"""

from __future__ import annotations

import hashlib

import pandas as pd

from components.common.dataset import SPLITS
from components.common.errors import PawflowError
from components.common.recipe import Split


def choose_split(group: str, shares: Split, seed: int) -> str:
    """The split of a group: "train", "validation" or "test"."""
    position = draw_position(group, seed)
    if position < shares.test:
        return "test"
    return "validation" if position < shares.test + shares.validation else "train"


def draw_position(group: str, seed: int) -> float:
    """Where the hash of a group falls between 0 and 1; below the share of test it is test, then comes validation, then train."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{group}".encode()).digest()[:8]) / 2**64


def prove_split(manifest: pd.DataFrame, classes: list[str]) -> dict[str, object]:
    """Check that no group, breed or content lies in two splits and that every split holds every class.

    Args:
        manifest: Rows as in `dataset.MANIFEST_COLUMNS`; those without a split are ignored.
        classes: Names of all classes.

    Returns:
        What was compared: for each kind of key, how many values there are, how many pairs of images share one, and how many of these
        pairs cross (always zero).

    Raises:
        PawflowError: Something crosses, or a split lacks a class.
    """
    placed = manifest[manifest["split"].notna()]
    proof: dict[str, object] = {}
    for key in ("group", "breed", "sha256"):
        grouped = placed.dropna(subset=[key]).groupby(key)["split"]
        splits_per_value, sizes = grouped.nunique(), grouped.size()
        crossing = splits_per_value[splits_per_value > 1]
        if len(crossing):
            raise PawflowError(
                f"the split leaks: {len(crossing)} values of {key} lie in more than one split, {crossing.index[0]!r} for one"
            )
        proof[key] = {"values": len(splits_per_value), "pairs": int((sizes * (sizes - 1) // 2).sum()), "crossing": 0}
    for split in SPLITS:
        missing = sorted(set(classes) - set(placed.loc[placed["split"] == split, "label"]))
        if missing:
            raise PawflowError(
                f"the {split} split has no image of {', '.join(missing)} among {len(placed)} usable ones; "
                "give it more images or groups, a larger share (split.validation, split.test), or another seed"
            )
    return proof


def undersample(manifest: pd.DataFrame, seed: int, old: pd.Series | None = None, *, per_source: bool = False) -> pd.Series:
    """Which training rows to set aside so that every class has as many as the rarest.

    Args:
        manifest: Rows with `split`, `label`, `source` and `sha256`.
        seed: Of the choice.
        old: Which rows an earlier dataset used; they are set aside last.
        per_source: Even out the classes within each source, so that the source says nothing of the class. Of a source that lacks a
            class nothing is kept.

    Returns:
        Row -> reason, of the rows to set aside. The choice follows a hash of each image, not its position.

    Raises:
        PawflowError: No source holds every class.
    """
    train = manifest[manifest["split"] == "train"]
    draw = train["sha256"].map(lambda value: hashlib.sha256(f"{seed}:{value}".encode()).hexdigest())
    is_new = pd.Series(True, index=train.index) if old is None else ~old.loc[train.index]
    order = pd.DataFrame({"is_new": is_new, "draw": draw}).sort_values(["is_new", "draw"]).index
    rank = train.loc[order].groupby(["source", "label"] if per_source else "label").cumcount()
    counts = train.groupby(["source", "label"]).size().unstack(fill_value=0)
    if per_source and not counts.min(axis=1).any():
        raise PawflowError(
            f"`balance: sources` keeps the sources that hold every class, but none does: {counts.to_dict('index')}; add a source with "
            "every class, or use `weights: source`"
        )
    allowed = train.loc[order, "source"].map(counts.min(axis=1)) if per_source else counts.sum().min()
    surplus = rank[rank >= allowed].index.sort_values()
    if not per_source:
        return pd.Series("surplus of its class in the training split", index=surplus, dtype=str)
    reasons = {source: _explain_surplus(str(source), row) for source, row in counts.iterrows()}
    return pd.Series(train.loc[surplus, "source"].map(reasons))


def _explain_surplus(source: str, counts: pd.Series) -> str:
    lacking = counts.index[counts == 0]
    if len(lacking):
        return f"{source} has no {', '.join(lacking)} in the training split, so that it would tell the class"
    return "surplus of its class in its source, in the training split"
