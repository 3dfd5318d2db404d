"""The numbers of a dataset: what was seen, where it went, and what to know before relying on it."""

from __future__ import annotations

import re
from typing import Any

import pandas as pd

from components.common.album import Album
from components.common.dataset import SPLITS, Dataset
from components.fuse.audit import ADVICE, advise

#: Why images of a status are in no split.
MEANING = {
    "unreadable": "They do not decode in full.",
    "missing": "The labels name them, but there is no such file.",
    "conflict": "The same bytes under different labels. Which label is right is not known, so none of them is used.",
    "rejected": "They show what an image of another split shows, and would join the two splits.",
    "duplicate": "The same bytes as an image that is kept.",
    "dropped": "Somebody decided so.",
    "excluded": "The recipe does not use their label.",
    "set_aside": "Surplus, left out so that the classes are even in training.",
    "unlabelled": "They have no label.",
    "beyond_limit": "The recipe takes only so many images of each source (`sources.limit`).",
}

_NO_CLASS = "no class"
_MOST_ROWS = 150
_MOST_FILES = 8
_MOST_REJECTED = 0.05
_FEWEST_TEST_IMAGES = 50
_LARGEST_IMBALANCE = 2.0


def count_headline(dataset: Dataset) -> list[dict[str, Any]]:
    """The tiles at the top: a number, what it counts, and a remark."""
    manifest = dataset.manifest
    num_sources, used = manifest["source"].nunique(), manifest[manifest["split"].notna()]
    splits = used["split"].value_counts()
    near, conflicts = dataset.report["near_duplicates"], dataset.report["conflicts"]
    assert isinstance(near, dict)
    assert isinstance(conflicts, list)
    tiles: list[tuple[int, str, str]] = [
        (len(manifest), "files seen", f"in {num_sources} source{'s' if num_sources > 1 else ''}"),
        (len(used), "images used", f"{len(used) / len(manifest):.1%} of the files"),
        *((int(splits[split]), split, f"{splits[split] / len(used):.1%} of the images") for split in SPLITS),
        (len(manifest) - len(used), "left out", "each with a reason"),
        (near["pairs"], "near-duplicates", "pairs that show one picture"),
        (len(conflicts), "conflicts", "one picture, different labels"),
    ]
    return [{"value": value, "name": name, "remark": remark} for value, name, remark in tiles]


def tabulate_splits(manifest: pd.DataFrame) -> dict[str, Any]:
    """Counts per source and class: a row for each with images per split and left out, the largest first within a source; and the sum."""
    where = manifest["split"].fillna("left_out")
    counts = manifest.groupby(["source", manifest["label"].fillna(_NO_CLASS), where]).size().unstack(fill_value=0)
    counts = counts.reindex(columns=[*SPLITS, "left_out"], fill_value=0)
    counts["used"] = counts[list(SPLITS)].sum(axis=1)
    ordered = counts.reset_index().sort_values(["source", "used"], ascending=[True, False], kind="stable")
    return {
        "rows": ordered.head(_MOST_ROWS).to_dict("records"),
        "num_more": max(0, len(ordered) - _MOST_ROWS),
        "total": counts.sum().to_dict(),
        "largest": int(counts["used"].max()),
    }


def group_left_out(manifest: pd.DataFrame, album: Album) -> list[dict[str, Any]]:
    """What is in no split, by status and reason: how many, and the first of them."""
    left_out = manifest[manifest["split"].isna()]
    groups = []
    for status in sorted(left_out["status"].unique(), key=list(MEANING).index):
        rows = left_out[left_out["status"] == status]
        reasons = [
            {"text": _state_reason(kind, part["reason"]), "count": len(part), "cards": album.cards(part["id"].head(_MOST_FILES))}
            for kind, part in rows.groupby(rows["reason"].map(_generalise), sort=False)
        ]
        reasons.sort(key=lambda reason: -int(str(reason["count"])))
        groups.append({"status": status, "meaning": MEANING[status], "count": len(rows), "reasons": reasons})
    return groups


def list_findings(dataset: Dataset) -> list[dict[str, str]]:
    """What to know before relying on the dataset: a level ("bad", "warn" or "good"), a sentence and the section that tells more."""
    report: dict[str, Any] = dataset.report
    manifest = dataset.manifest
    level = {"severe": "bad", "strong": "bad", "slight": "warn", "none": "good"}.get(report["audit"]["level"], "warn")
    found, num_sources = report["audit"]["level"], len(report["audit"]["images"])
    verdict = advise(found, report["audit"]["probes"], num_sources) if found in ADVICE else report["audit"]["finding"]
    findings = [(level, f"Confounding of class and source: {found}; {verdict}.", "audit")]
    if report["conflicts"]:
        findings.append(("warn", f"Pictures under different labels: {len(report['conflicts']):,}. A decision settles each.", "twice"))
    suspects = report["suspects"]
    if suspects["undecided"]:
        told = f"Images whose label is known to be doubtful: {suspects['present']:,}, of which {suspects['undecided']:,} are undecided."
        findings.append(("warn", told, "doubtful"))
    counts = manifest["status"].value_counts()
    for status, told in (("unreadable", "Files that cannot be read"), ("missing", "Files that the labels name and that are not there")):
        if status in counts:
            findings.append(("warn", f"{told}: {counts[status]:,} of {len(manifest):,}.", "left-out"))
    rejected, num_usable = counts.get("rejected", 0), counts.get("rejected", 0) + counts.get("used", 0)
    if rejected > _MOST_REJECTED * num_usable:
        told = f"Near-duplicates that would tie two splits together, and were left out: {rejected:,} of {num_usable:,} usable images"
        findings.append(("warn", f"{told}; where photos are taken in series, name the series as a `group` (layout csv).", "left-out"))
    findings += [("warn", text, "splits") for text in _judge_balance(report["splits"])]
    num_pairs = report["split_proof"]["near_duplicate"]["pairs"]
    findings.append(
        ("good", f"Nothing crosses the splits: no breed, group, content or near-duplicate, in {num_pairs:,} pairs compared.", "proof")
    )
    return [{"level": level, "text": text, "section": section} for level, text, section in findings]


def _judge_balance(splits: dict[str, dict[str, int]]) -> list[str]:
    texts = []
    few = {label: count for label, count in splits["test"].items() if count < _FEWEST_TEST_IMAGES}
    if few:
        label = min(few, key=lambda name: few[name])
        texts.append(
            f"Classes with fewer than {_FEWEST_TEST_IMAGES} test images: {len(few)}, the smallest {label} with {few[label]}; "
            "expect wide intervals."
        )
    most, least = max(splits["train"].values()), min(splits["train"].values())
    if most / least >= _LARGEST_IMBALANCE:
        texts.append(
            f"The largest class has {most / least:.1f} times as many training images as the smallest; see `balance` and `weights`."
        )
    return texts


def _generalise(reason: str) -> str:
    """A reason without what differs from file to file: names and numbers."""
    return re.sub(r"\d[\d,]*", "…", re.sub(r"(: |identical to ).*", r"\1…", reason, flags=re.DOTALL))


def _state_reason(kind: str, reasons: pd.Series) -> str:
    return str(reasons.iloc[0]) if reasons.nunique() == 1 else kind
