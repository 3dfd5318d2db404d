"""Which images say something about what they show, where the audit of the fuse step found that files tell the class.

In: a dataset with its audit. Out: ids of images. `evaluate` words the headline by them, and the gate of `register` judges by them.
"""

from __future__ import annotations

from typing import Any

from components.common.dataset import Dataset

#: AUC from which the audit calls files telling: "strong".
TELLING = 0.7
#: Levels of the audit at which files say next to nothing; at "unknown" there were too few images to ask.
HARMLESS_LEVELS = frozenset({"none", "slight"})
#: Levels of the audit at which a score may be about files.
TELLING_LEVELS = frozenset({"strong", "severe"})


def find_clean(dataset: Dataset, split: str) -> frozenset[str]:
    """Ids of the images of a split that count; all of them where the audit found nothing.

    Elsewhere an image counts if its source holds every class and the files of that source, asked by themselves, do not tell it either. Of
    several sources, one that could not be asked does not count.
    """
    rows, audit = dataset.rows(split), read_audit(dataset)
    if audit["level"] in HARMLESS_LEVELS:
        return frozenset(rows["id"])
    sources = [source for source in rows["source"].unique() if not _tells(audit, source, alone=rows["source"].nunique() == 1)]
    return frozenset(rows.loc[rows["unconfounded"] & rows["source"].isin(sources), "id"])


def read_audit(dataset: Dataset) -> dict[str, Any]:
    """What the fuse step wrote under `audit` of its report."""
    audit = dataset.report["audit"]
    assert isinstance(audit, dict)
    return audit


def _tells(audit: dict[str, Any], source: str, *, alone: bool) -> bool:
    probe = audit["probes"].get("class_from_file" if alone else f"class_from_file.{source}")
    return not alone if probe is None else float(probe["auc"]) >= TELLING
