"""Which labels are in doubt: where a network that had not learned from an image disagrees, and where the public list does.

Heads that had learned from an image would have learned its wrong label too, so only out-of-fold predictions count. Some of what they call
otherwise is wrongly labelled, and some is merely hard. Confident learning (Northcutt, Jiang and Chuang, "Confident Learning: Estimating
Uncertainty in Dataset Labels", 2021), by `cleanlab`, tells these apart: how sure the network usually is of a class sets the bar for that
class; what lies above the bar of a class that it is not labelled as is counted, and so many images, the least probable, are marked.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from components.common.dataset import SPLITS, Dataset
from components.common.metrics import Labels, Probabilities

SUSPECTS_FILE = "suspects.csv"

#: Columns of the table, with their pandas types.
_COLUMNS = {
    "rank": "int64",
    "id": "str",
    "split": "str",
    "label": "str",
    "suggested_label": "str",
    "self_confidence": "float64",
    "suggested_probability": "float64",
    "confident": "bool",
    "votes": "int64",
    "decision": "str",
}


def find_suspects(dataset: Dataset, predicted: pd.DataFrame) -> pd.DataFrame:
    """The images whose label is in doubt, or that a decision speaks of; the most doubtful first, those already decided upon last.

    Args:
        dataset: Where they are, with its known suspects and its decisions.
        predicted: Columns `probability_<class>` in the order of the dataset's classes, indexed by id; images may be missing.

    Returns:
        A row for each: `rank` from 1 on, `id`, `split` (none where it is in no split), `label` as trained on, `suggested_label` (what the
        network says instead, none where it agrees), `self_confidence` (probability of the label) and `suggested_probability` (both NaN
        without a prediction), whether confident learning is `confident` that the label is wrong, `votes` against it on the public list,
        and the `decision` about it (keep, drop or relabel; none where it is open). Sorted by the number of opinions against the label,
        each vote and the network counting alike, then by self-confidence.
    """
    report: dict[str, Any] = dataset.report
    votes = {image["id"]: image["votes"] for image in report["suspects"]["images"]}
    decided = {decision["id"]: decision["action"] for decision in report["decided"]}
    rows = pd.concat([dataset.rows(split) for split in SPLITS], ignore_index=True).set_index("id")
    probabilities = predicted.reindex(rows.index).dropna()
    labels = rows.loc[probabilities.index, "label"].map(dataset.classes.index).to_numpy(np.int64)
    judged = _judge(labels, probabilities.to_numpy(np.float64), dataset.classes).set_index(probabilities.index)
    doubted = judged.index[judged["suggested_label"].notna()]
    facts = dataset.manifest.set_index("id")[["split", "label"]]
    table = facts.loc[list(dict.fromkeys([*doubted, *votes, *decided]))].join(judged)
    table["confident"] = table["confident"].eq(True)
    table["votes"] = [votes.get(identifier, 0) for identifier in table.index]
    table["decision"] = pd.Series([decided.get(identifier) for identifier in table.index], table.index, dtype="str")
    opinions = table["votes"] + table["suggested_label"].notna()
    table = table.assign(is_decided=table["decision"].notna(), opinions=-opinions).rename_axis("id").reset_index()
    table = table.sort_values(["is_decided", "opinions", "self_confidence", "id"], ignore_index=True)
    return table.assign(rank=table.index + 1)[list(_COLUMNS)].astype(_COLUMNS)


def _judge(labels: Labels, probabilities: Probabilities, classes: list[str]) -> pd.DataFrame:
    """Of n labelled images: columns `confident`, `self_confidence`, `suggested_label` and `suggested_probability`."""
    best = probabilities.argmax(axis=1)
    suggested = pd.Series(np.array(classes, object)[best], dtype="str").where(best != labels)
    return pd.DataFrame(
        {
            "confident": _find_issues(labels, probabilities),
            "self_confidence": probabilities[np.arange(len(labels)), labels],
            "suggested_label": suggested,
            "suggested_probability": probabilities.max(axis=1),
        }
    )


def _find_issues(labels: Labels, probabilities: Probabilities) -> NDArray[np.bool_]:
    # cleanlab takes no empty table.
    if not len(labels):
        return np.zeros(0, bool)
    # Importing it takes a second, which other steps need not wait for.
    from cleanlab.filter import find_label_issues

    with warnings.catch_warnings():
        # A class of one or two images has no bar of its own; the warning would name it by a number.
        warnings.filterwarnings("ignore", "May not flag all label issues")
        return np.asarray(find_label_issues(labels, probabilities, n_jobs=1))


def count_suspects(table: pd.DataFrame) -> dict[str, int]:
    """How many there are, by who doubts their labels.

    Returns:
        `called_otherwise` by the network; of these with a `confident` mark; `known` by the public list; `both` otherwise and known;
        and `undecided` of all.
    """
    otherwise, known = table["suggested_label"].notna(), table["votes"] > 0
    return {
        "called_otherwise": int(otherwise.sum()),
        "confident": int(table["confident"].sum()),
        "known": int(known.sum()),
        "both": int((otherwise & known).sum()),
        "undecided": int(((otherwise | known) & table["decision"].isna()).sum()),
    }


def read_suspects(path: Path) -> pd.DataFrame:
    """The table of `find_suspects`, as it was written."""
    # A class may be called NA.
    return pd.read_csv(path, dtype=_COLUMNS, keep_default_na=False, na_values=[""])
