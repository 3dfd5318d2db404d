"""Whether the source of an image, instead of what it shows, carries a model.

In: the dataset with its audit, and a model's answers. The gate judges by clean images (`components.common.confounding`); the others serve
to ask how much better the same class is recognised where its source gives it away.
"""

from __future__ import annotations

from components.common.confounding import read_audit
from components.common.dataset import Dataset
from components.register.answers import Answers
from components.register.gate import Confounding, Gap
from components.register.statistics import newcombe


def judge_confounding(answers: Answers, dataset: Dataset) -> Confounding:
    """What the audit's finding means for a model, from its answers on the test split."""
    audit = read_audit(dataset)
    clean = int(answers.rows["clean"].sum())
    return Confounding(str(audit["level"]), str(audit["finding"]), len(answers.rows), clean, _find_gap(answers))


def _find_gap(answers: Answers) -> Gap | None:
    right = answers.probabilities.argmax(axis=1) == answers.labels
    clean, groups = answers.rows["clean"].to_numpy(bool), answers.groups
    kinds = {label: [(answers.labels == number) & kind for kind in (~clean, clean)] for number, label in enumerate(answers.classes)}
    asked = {label: parts for label, parts in kinds.items() if all(part.any() for part in parts)}
    gaps = [
        Gap(label, newcombe((right[told], right[other]), (groups[told], groups[other]), len(asked)))
        for label, (told, other) in asked.items()
    ]
    # One that chance explains must not hide a smaller one that it does not.
    return max(gaps, key=lambda gap: (gap.difference.low > 0, gap.difference.value), default=None)
