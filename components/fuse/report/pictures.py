"""The images of the page: examples of each class, what shows one picture twice, and whose label is in doubt; each list is capped."""

from __future__ import annotations

from typing import Any

import pandas as pd

from components.common.album import Album
from components.common.dataset import Dataset, find_evidence
from components.fuse.evidence import NEAR_DUPLICATES

_MOST_SHEETS = 40
_MOST_ON_SHEETS = 240
_SHEET = (6, 18)
_MOST_PAIRS = 24
_MOST_CONFLICTS = 24
_MOST_COPIES = 12
_MOST_DOUBTFUL = 36


def lay_out_sheets(manifest: pd.DataFrame, album: Album) -> dict[str, Any]:
    """Some images of each source and class, chosen by their bytes and thus evenly over the archive."""
    cells = list(manifest[manifest["split"].notna()].groupby(["source", "label"]))
    fewest, most = _SHEET
    number = min(most, max(fewest, _MOST_ON_SHEETS // len(cells)))
    sheets = [
        {"source": source, "label": label, "count": len(rows), "cards": album.cards(rows.sort_values("sha256")["id"].head(number))}
        for (source, label), rows in cells[:_MOST_SHEETS]
    ]
    return {"sheets": sheets, "num_more": max(0, len(cells) - _MOST_SHEETS)}


def show_conflicts(dataset: Dataset, album: Album) -> dict[str, Any]:
    """One picture under different labels, side by side."""
    conflicts = dataset.report["conflicts"]
    assert isinstance(conflicts, list)
    shown = [
        {"kind": conflict["kind"], "cards": album.cards(image["id"] for image in conflict["images"][:_MOST_COPIES])}
        for conflict in conflicts[:_MOST_CONFLICTS]
    ]
    return {"shown": shown, "num_more": max(0, len(conflicts) - _MOST_CONFLICTS)}


def show_near_duplicates(dataset: Dataset, album: Album) -> dict[str, Any]:
    """Pairs that show one picture under one label, those that were kept apart by rejecting one and the least alike first."""
    facts = dataset.manifest.set_index("id")
    pairs = pd.read_parquet(find_evidence(dataset.folder, NEAR_DUPLICATES))
    for side in ("first", "later"):
        pairs[[f"{side}_label", f"{side}_status"]] = facts.loc[pairs[side], ["label", "status"]].to_numpy()
    alike = pairs[pairs["first_label"] == pairs["later_label"]]
    apart = (alike["first_status"] == "rejected") | (alike["later_status"] == "rejected")
    alike = alike.assign(apart=apart).sort_values(["apart", "difference"], ascending=False, kind="stable")
    shown = [
        {"cards": album.cards([str(pair["first"]), str(pair["later"])]), "bits": pair["bits"], "difference": pair["difference"]}
        for _, pair in alike.head(_MOST_PAIRS).iterrows()
    ]
    return {"shown": shown, "num_more": max(0, len(alike) - _MOST_PAIRS), "num_apart": int(apart.sum()), "count": len(alike)}


def show_copies(manifest: pd.DataFrame, album: Album) -> dict[str, Any]:
    """Identical files: the one that is kept, and the names of the others."""
    copies = manifest[manifest["status"] == "duplicate"]
    kept = manifest[(manifest["status"] != "duplicate") & manifest["sha256"].isin(copies["sha256"])].drop_duplicates("sha256")
    shown = [
        {"card": album.cards([identifier])[0], "others": copies.loc[copies["sha256"] == content, "id"].tolist()}
        for identifier, content in kept[["id", "sha256"]].head(_MOST_PAIRS).itertuples(index=False)
    ]
    return {"shown": shown, "num_more": max(0, len(kept) - _MOST_PAIRS), "count": len(copies)}


def show_doubtful(dataset: Dataset, album: Album) -> dict[str, Any]:
    """Images whose label several searches call wrong, and what people decided about images."""
    report: dict[str, Any] = dataset.report
    suspects, decided = report["suspects"]["images"], report["decided"]
    return {
        "suspects": [
            {**suspect, "card": card}
            for suspect, card in zip(suspects, album.cards(suspect["id"] for suspect in suspects[:_MOST_DOUBTFUL]), strict=False)
        ],
        "num_more_suspects": max(0, len(suspects) - _MOST_DOUBTFUL),
        "decided": [
            {**decision, "card": card}
            for decision, card in zip(decided, album.cards(decision["id"] for decision in decided[:_MOST_DOUBTFUL]), strict=False)
        ],
        "num_more_decided": max(0, len(decided) - _MOST_DOUBTFUL),
    }
