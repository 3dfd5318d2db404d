"""Which test images say something about what they show, and whether the source of the others carries a model.

In: the dataset with its audit, and a model's answers. Where the audit finds that files tell the class, an image counts as clean if its
source holds every class and the files of that source, asked by themselves, do not tell it either. The gate judges by clean images; the
others serve to ask how much better the same class is recognised where its source gives it away.
"""

from __future__ import annotations

from typing import Any

from components.common.dataset import Dataset
from components.register.answers import Answers
from components.register.gate import Confounding, Gap
from components.register.statistics import newcombe

#: AUC from which the audit calls files telling: "strong".
_TELLING = 0.7
_HARMLESS = frozenset({"none", "slight"})


def find_clean(dataset: Dataset, split: str) -> frozenset[str]:
    """Ids of the images of a split that count; all of them where the audit found nothing."""
    rows, audit = dataset.rows(split), _audit(dataset)
    if audit["level"] in _HARMLESS:
        return frozenset(rows["id"])
    sources = [source for source in rows["source"].unique() if not _tells(audit, source, alone=rows["source"].nunique() == 1)]
    return frozenset(rows.loc[rows["unconfounded"] & rows["source"].isin(sources), "id"])


def judge_confounding(answers: Answers, dataset: Dataset) -> Confounding:
    """What the audit's finding means for a model, from its answers on the test split."""
    audit = _audit(dataset)
    clean = int(answers.rows["clean"].sum())
    return Confounding(str(audit["level"]), str(audit["finding"]), len(answers.rows), clean, _find_gap(answers))


def _find_gap(answers: Answers) -> Gap | None:
    right = answers.probabilities.argmax(axis=1) == answers.labels
    clean = answers.rows["clean"].to_numpy(bool)
    kinds = {label: [(answers.labels == number) & kind for kind in (~clean, clean)] for number, label in enumerate(answers.classes)}
    asked = {label: parts for label, parts in kinds.items() if all(part.any() for part in parts)}
    gaps = [
        Gap(label, newcombe((int(right[told].sum()), int(right[other].sum())), (int(told.sum()), int(other.sum())), len(asked)))
        for label, (told, other) in asked.items()
    ]
    return max(gaps, key=lambda gap: gap.difference.value, default=None)


def _tells(audit: dict[str, Any], source: str, *, alone: bool) -> bool:
    probe = audit["probes"].get("class_from_file" if alone else f"class_from_file.{source}")
    return probe is not None and float(probe["auc"]) >= _TELLING


def _audit(dataset: Dataset) -> dict[str, Any]:
    audit = dataset.report["audit"]
    assert isinstance(audit, dict)
    return audit
