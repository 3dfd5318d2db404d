"""Why one image is where it is: everything that fusion recorded of it, put together.

In: a dataset folder and the id of an image, or a part of one. Out: a dictionary that JSON can hold, with a sentence wherever something
was decided. Nothing is decided anew here; only the distance to the nearest other hashes is computed, which tells how far an image is from
having near-duplicates.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import pandas as pd

from components.common.dataset import Dataset, find_evidence
from components.common.errors import PawflowError
from components.common.recipe import Split
from components.fuse.audit import FEWEST_IMAGES, METADATA
from components.fuse.evidence import NEAR_DUPLICATES, PLACEMENT
from components.fuse.hashing import read_hashes
from components.fuse.near_duplicates import LARGEST_DIFFERENCE, RADIUS
from components.fuse.splitting import choose_split, draw_position

_NUM_NEAREST = 3
_NUM_LISTED = 10

Facts = dict[str, Any]


def explain(dataset: Dataset, name: str) -> Facts:
    """Everything known of one image.

    Args:
        dataset: A finished one.
        name: Its id; or the end of it (whole parts of the path), with or without the ending of the file, or the start of the file's name,
            as much as tells it from all others.

    Returns:
        `id`, `source`, `path`, `status` and `reason`; and a dictionary or list each for `file`, `label`, `group`, `split`, `identical`,
        `near_duplicates`, `nearest`, `conflicts`, `stored` and `unconfounded`.

    Raises:
        PawflowError: No image has that name, or several have.
    """
    manifest, report = dataset.manifest, dataset.report
    row = find_image(manifest["id"], name)
    image = _plain(manifest.loc[row])
    near = _list_near_duplicates(dataset, image)
    return {
        **{key: image[key] for key in ("id", "source", "path", "status", "reason")},
        "dataset": {"folder": str(dataset.folder), "digest": dataset.digest},
        "file": _describe_file(dataset, image),
        "label": _explain_label(report, image),
        "group": _explain_group(dataset, image, near),
        "split": _explain_split(dataset, image),
        "identical": _list_identical(manifest, image),
        "near_duplicates": near,
        "nearest": _list_nearest(manifest, image),
        "conflicts": _list_conflicts(report, image),
        "stored": {key: image[key] for key in ("shard", "row")},
        "unconfounded": _explain_slice(report, image),
    }


def find_image(ids: pd.Series, name: str) -> Any:
    """The index label of the one image of a name.

    Raises:
        PawflowError: There is none, or there are several.
    """
    found = next(filter(len, (ids.index[fits(ids)] for fits in _ways_to_fit(name))), ids.index[:0])
    if len(found) == 1:
        return found[0]
    if len(found):
        listed = "".join(f"\n  {identifier}" for identifier in ids[found[:_NUM_LISTED]])
        more = f"\n  and {len(found) - _NUM_LISTED} more" if len(found) > _NUM_LISTED else ""
        raise PawflowError(f"{name!r} fits {len(found)} ids; pass more of the one that you mean:{listed}{more}")
    names = ids.map(lambda identifier: PurePosixPath(identifier).name)
    # Names of about the same length only, so that a million of them are searched in seconds.
    wanted = PurePosixPath(name).name
    alike = names[(names.str.len() - len(wanted)).abs() <= 2].unique().tolist()
    close = ids[names.isin(difflib.get_close_matches(wanted, alike, 5))].head(_NUM_LISTED)
    hint = (
        f"; the closest are{''.join(f'{chr(10)}  {identifier}' for identifier in close)}"
        if len(close)
        else f"; they look like {ids.iloc[0]}"
    )
    raise PawflowError(f"none of the {len(ids):,} images is called {name!r}{hint}")


def _ways_to_fit(name: str) -> list[Callable[[pd.Series], pd.Series]]:
    """Tests of ids, from what the name says exactly to what it may mean: pages show names without their ending, and cut long ones."""
    pattern, start = re.escape(name), re.escape(name.removesuffix("…"))
    return [
        lambda ids: ids == name,
        lambda ids: ids.str.endswith(f"/{name}"),
        lambda ids: ids.str.contains(rf"(?:^|/){pattern}\.[^./]+$"),
        lambda ids: ids.str.contains(rf"(?:^|/){start}[^/]*$") & (start != ""),
    ]


def _describe_file(dataset: Dataset, image: Facts) -> Facts:
    table = pd.read_parquet(dataset.folder / METADATA)
    found = table[table["id"] == image["id"]]
    encoding = _plain(found.iloc[0]) if len(found) else {"format": None, "has_exif": None}
    measured = {key: image[key] for key in ("sha256", "bytes", "width", "height", "mode", "perceptual_hash")}
    return measured | {key: encoding[key] for key in ("format", "has_exif")}


def _explain_label(report: Facts, image: Facts) -> Facts:
    decision = next((item for item in report["decided"] if item["id"] == image["id"]), None)
    suspect = next((item for item in report["suspects"]["images"] if item["id"] == image["id"]), None)
    why = "given by the source" if image["label"] else None
    if decision:
        changed = decision["label"] != decision["label_before"]
        before = f", which was {decision['label_before'] or 'without a label'} before" if changed else ""
        why = f"decided ({decision['action']}){before}: {decision['why']}"
    return {
        "label": image["label"],
        "breed": image["breed"],
        "why": why,
        "decision": decision,
        "votes_against": suspect and suspect["votes"],
    }


def _explain_group(dataset: Dataset, image: Facts, near: list[Facts]) -> Facts:
    """The other images that must lie in the same split, and what ties each to this one."""
    if image["status"] not in ("used", "set_aside"):
        return {"name": None, "why": "only images that could be used belong to a group", "members": []}
    manifest = dataset.manifest
    others = manifest[
        (manifest["group"] == image["group"]) & manifest["status"].isin(["used", "set_aside"]) & (manifest["id"] != image["id"])
    ]
    table = pd.read_parquet(find_evidence(dataset.folder, PLACEMENT)).dropna(subset=["key"])
    keys, pairs = dict(zip(table["id"], table["key"], strict=True)), {item["id"]: item for item in near}
    own = keys.get(image["id"])
    members = []
    for _, other in others.iterrows():
        ties = [_name_key(image, own)] if own is not None and keys.get(other["id"]) == own else []
        if other["id"] in pairs:
            ties.append(f"near-duplicate, {_state_distance(pairs[other['id']])}")
        facts = _plain(other)
        members.append({key: facts[key] for key in ("id", "label", "split")} | {"why": " and ".join(ties) or "through other members"})
    why = "they must not be told apart" if members else "no other image that is used has its key or shows the same picture"
    return {"name": image["group"], "why": why, "members": members}


def _explain_split(dataset: Dataset, image: Facts) -> Facts:
    table = pd.read_parquet(find_evidence(dataset.folder, PLACEMENT))
    found = table[table["id"] == image["id"]]
    if not len(found):
        return {"split": None, "why": f"{image['status']}: {image['reason']}"}
    placed = _plain(found.iloc[0])
    report: Facts = dataset.report
    seed, shares = report["seed"], Split(**report["shares"])
    key = placed["key"] or image["sha256"]
    of_what = _name_key(image, placed["key"])
    position = draw_position(key, seed)
    if placed["earlier"]:
        told = f"kept from the earlier dataset, which had it in {placed['split']}"
    elif choose_split(key, shares, seed) != placed["split"]:
        told = f"the earlier dataset has the {of_what} in {placed['split']}"
    else:
        told = (
            f"the hash of seed {seed} and its {of_what} falls on {position:.4f}: below {shares.test:g} is test, below "
            f"{shares.test + shares.validation:g} validation, above train"
        )
    if image["split"] is None:
        told = f"{image['status']}: {image['reason']}. By itself it would be in {placed['split']}: {told}"
    return {"split": image["split"], "own_split": placed["split"], "key": key, "position": position, "why": told}


def _name_key(image: Facts, key: str | None) -> str:
    if key is None:
        return "content"
    return f"breed {key}" if key == image["breed"] else f"declared group {key}"


def _list_identical(manifest: pd.DataFrame, image: Facts) -> list[Facts]:
    same = manifest[(manifest["sha256"] == image["sha256"]) & (manifest["id"] != image["id"])]
    return [_plain(row) for _, row in same[["id", "label", "split", "status"]].iterrows()]


def _list_near_duplicates(dataset: Dataset, image: Facts) -> list[Facts]:
    """The recorded pairs of an image, the nearest first."""
    pairs = pd.read_parquet(find_evidence(dataset.folder, NEAR_DUPLICATES))
    as_first = pairs[pairs["first"] == image["id"]].rename(columns={"later": "id"})
    as_later = pairs[pairs["later"] == image["id"]].rename(columns={"first": "id"})
    found = pd.concat([as_first, as_later])[["id", "bits", "difference"]].sort_values(["bits", "difference"])
    facts = dataset.manifest.loc[dataset.manifest["id"].isin(found["id"]), ["id", "label", "split", "status"]]
    return [_plain(row) for _, row in found.merge(facts, on="id").iterrows()]


def _list_nearest(manifest: pd.DataFrame, image: Facts) -> list[Facts]:
    """The images of other content whose perceptual hashes are the nearest, with the bits in which they differ."""
    if image["perceptual_hash"] is None:
        return []
    hashed = manifest[manifest["perceptual_hash"].notna() & (manifest["sha256"] != image["sha256"])]
    bits = np.bitwise_count(read_hashes(hashed["perceptual_hash"].tolist()) ^ read_hashes([image["perceptual_hash"]]))
    chosen = np.argsort(bits, kind="stable")[:_NUM_NEAREST]
    return [{"id": str(hashed["id"].iloc[place]), "bits": int(bits[place])} for place in chosen]


def _list_conflicts(report: Facts, image: Facts) -> list[Facts]:
    return [conflict for conflict in report["conflicts"] if image["id"] in [other["id"] for other in conflict["images"]]]


def _explain_slice(report: Facts, image: Facts) -> Facts:
    if image["split"] is None:
        return {"value": False, "why": "it is in no split"}
    if image["unconfounded"]:
        return {"value": True, "why": "its source holds every class, so it does not give the class away"}
    lacking = ", ".join(label for label, count in report["audit"]["images"][image["source"]].items() if count < FEWEST_IMAGES)
    return {"value": False, "why": f"its source holds fewer than {FEWEST_IMAGES} images of {lacking}, so it gives the class away"}


def _state_distance(pair: Facts) -> str:
    return f"hashes {pair['bits']} bits apart (at most {RADIUS}), pixels {pair['difference']:.3f} (at most {LARGEST_DIFFERENCE:g})"


def _plain(row: pd.Series) -> Facts:
    """A row as values that JSON can hold; None for what is not known."""
    values = row.astype(object).where(row.notna(), None)
    return {str(name): value.item() if isinstance(value, np.generic) else value for name, value in values.items()}
