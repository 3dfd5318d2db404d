"""One candidate's figures: metrics with intervals, slices, calibration, doubtful labels, and what "not sure" would have changed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.metrics import auc

from components.common.candidate import OUT_OF_FOLD
from components.common.dataset import Dataset
from components.common.metrics import METRICS, Labels, estimate_accuracy, estimate_metrics
from components.evaluate.answers import Answers, read_out_of_fold, undo_temperature
from components.evaluate.slices import COLUMNS, Headline
from serving.predictor import ModelCard

#: Slices smaller than this say nothing; they are counted but not judged.
_SMALLEST_SLICE = 5
#: With fewer test images in the headline, an estimate on all labelled images stands beside it.
_FEW_IMAGES = 1000
#: Shares of the images that are answered, at which the selective accuracy is told.
_COVERAGES = (1.0, 0.99, 0.98, 0.95, 0.9, 0.8)
#: From this many votes against a label on, an error on it is more probably the label's than the network's.
_CONVINCING_VOTES = 2
#: Metrics that a temperature changes.
_CALIBRATED = ("log_loss", "brier", "calibration_error")


@dataclass(frozen=True)
class Exam:
    """What all candidates of a run are judged on.

    Attributes:
        dataset: Its validation and test splits.
        images: Slice columns of the test images, a row for each.
        origins: Those that follow from where an image is from, of all splits.
        headline: Which of them the headline is about.
        seed: Of the bootstrap.
    """

    dataset: Dataset
    images: pd.DataFrame
    origins: pd.DataFrame
    headline: Headline
    seed: int

    @property
    def suspects(self) -> dict[str, int]:
        """Id -> votes against its label, of the images that are publicly known as doubtful."""
        report: dict[str, Any] = self.dataset.report
        return {suspect["id"]: suspect["votes"] for suspect in report["suspects"]["images"]}


def judge(answers: dict[str, Answers], exam: Exam, candidate: Path, card: ModelCard) -> dict[str, Any]:
    """All figures of a candidate.

    Args:
        answers: Split -> what it says of its images.
        exam: What it is judged on.
        candidate: Its folder.
        card: Its card.
    """
    dataset, images = exam.dataset, exam.images
    result: dict[str, Any] = {}
    for split, said in answers.items():
        result[split] = estimate_metrics(dataset.labels(split), said.probabilities, exam.seed, dataset.rows(split)["group"].to_numpy(str))
    labels, test = dataset.labels("test"), answers["test"]
    chosen = exam.headline.select(images)
    groups = images["group"].to_numpy(str)
    result["headline"] = estimate_metrics(labels[chosen], test.probabilities[chosen], exam.seed, groups[chosen])
    result["out_of_fold"] = _judge_out_of_fold(exam, candidate) if chosen.sum() < _FEW_IMAGES else None
    result["slices"] = {column: _judge_slices(labels, test, images[column], groups) for column in COLUMNS}
    result["calibration"] = _judge_calibration(labels[chosen], test.probabilities[chosen], card)
    result["not_sure"] = judge_doubt(test.is_right(labels)[chosen], test.confidence[chosen], test.not_sure[chosen], card)
    result["suspects"] = judge_suspects(test.is_right(labels), images["id"], exam.suspects)
    return result


def _judge_out_of_fold(exam: Exam, candidate: Path) -> dict[str, Any] | None:
    """The headline's slice in all splits, by heads that had not seen an image; None where a candidate has no such heads."""
    if not (candidate / OUT_OF_FOLD).is_file():
        return None
    chosen = exam.origins[exam.headline.select(exam.origins)]
    probabilities = read_out_of_fold(candidate / OUT_OF_FOLD, exam.dataset.classes).loc[chosen["id"]].to_numpy(np.float64)
    labels = chosen["label"].map(exam.dataset.classes.index).to_numpy(np.int64)
    return {
        **estimate_metrics(labels, probabilities, exam.seed, chosen["group"].to_numpy(str)),
        "suspects": judge_suspects(probabilities.argmax(axis=1) == labels, chosen["id"], exam.suspects),
    }


def _judge_slices(labels: Labels, said: Answers, column: pd.Series, groups: NDArray[np.str_]) -> dict[str, Any]:
    slices: dict[str, Any] = {}
    for value, rows in column.dropna().groupby(column):
        place = rows.index.to_numpy()
        enough = len(place) >= _SMALLEST_SLICE
        slices[str(value)] = estimate_accuracy(labels[place], said.probabilities[place], groups[place]) if enough else {"n": len(place)}
    return slices


def _judge_calibration(labels: Labels, probabilities: NDArray[np.floating], card: ModelCard) -> dict[str, Any]:
    """On the headline's test images: what the temperature, which was fitted on validation images, changed."""
    before = undo_temperature(probabilities, card)
    return {
        "temperature": card.temperature,
        "n": len(labels),
        **{name: {"before": METRICS[name](labels, before), "after": METRICS[name](labels, probabilities)} for name in _CALIBRATED},
    }


def judge_doubt(right: NDArray[np.bool_], confidence: NDArray[np.floating], not_sure: NDArray[np.bool_], card: ModelCard) -> dict[str, Any]:
    """What "not sure" costs and saves, and the accuracy if only the most confident answers were given.

    Args:
        right: Whether each answer is, shape (n,).
        confidence: Probability of its label.
        not_sure: Whether it would be given as "not sure".
        card: Says at which thresholds.
    """
    errors = trace_risk(right, confidence)
    return {
        "n": len(right),
        "below": {"probability": card.not_sure_below, "peak": card.unfamiliar_below},
        "num_not_sure": int(not_sure.sum()),
        "num_errors": int((~right).sum()),
        "num_errors_not_sure": int((~right & not_sure).sum()),
        "accuracy_when_sure": float(right[~not_sure].mean()) if (~not_sure).any() else float("nan"),
        "selective_accuracy": {f"{share:g}": 1 - errors[max(1, int(share * len(right))) - 1] for share in _COVERAGES},
        "area_under_risk_coverage": float(auc(np.arange(1, len(right) + 1) / len(right), errors)) if len(right) > 1 else float("nan"),
    }


def trace_risk(right: NDArray[np.bool_], confidence: NDArray[np.floating]) -> NDArray[np.float64]:
    """Share of errors among the 1, 2, ..., n most confident answers (the risk-coverage curve), shape (n,).

    El-Yaniv and Wiener, "On the Foundations of Noise-free Selective Classification" (2010).
    """
    wrong = ~right[np.argsort(-confidence, kind="stable")]
    return np.asarray(np.cumsum(wrong) / np.arange(1, len(wrong) + 1))


def judge_suspects(right: NDArray[np.bool_], ids: pd.Series, votes: dict[str, int]) -> dict[str, int]:
    """How many errors are on images whose label is publicly doubted: there the network may be right and the label wrong.

    Args:
        right: Whether each answer agrees with the label, shape (n,).
        ids: Of the images, in the same order.
        votes: Id -> number of independent searches that call its label wrong.
    """
    against = ids.map(votes).fillna(0).to_numpy(np.int64)
    return {
        "n": len(ids),
        "present": int((against > 0).sum()),
        "errors": int((~right).sum()),
        "errors_on_suspects": int((~right & (against > 0)).sum()),
        "errors_on_convincing_suspects": int((~right & (against >= _CONVINCING_VOTES)).sum()),
    }
