"""Metrics with intervals; scikit-learn does the arithmetic.

Precision, recall and F1 are averages over the classes (macro), so that two classes are treated alike and many are possible; the areas
under the ROC and the precision-recall curve are one class against the rest, averaged likewise. Intervals are 95 %: Wilson's for accuracy,
the bootstrap over whole groups of images for the others. docs/evaluation.md defines each metric.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest
from sklearn import metrics as sk

from components.common.bootstrap import RESAMPLED, Labels, Probabilities, draw_weights, measure_calibration_error

Estimate = dict[str, float]

__all__ = ["METRICS", "Estimate", "Labels", "Probabilities", "estimate_accuracy", "estimate_metrics"]


def _one_against_rest(score: Callable[..., float]) -> Callable[[Labels, Probabilities], float]:
    def average(labels: Labels, probabilities: Probabilities) -> float:
        one_hot = np.eye(probabilities.shape[1])[labels]
        present = one_hot.any(axis=0)
        return float(score(one_hot[:, present], probabilities[:, present], average="macro")) if present.sum() > 1 else math.nan

    return average


def _of_labels(score: Callable[..., float], **options: object) -> Callable[[Labels, Probabilities], float]:
    return lambda labels, probabilities: float(score(labels, probabilities.argmax(axis=1), **options))


def _of_probabilities(score: Callable[..., float], **options: object) -> Callable[[Labels, Probabilities], float]:
    return lambda labels, probabilities: float(score(labels, probabilities, labels=range(probabilities.shape[1]), **options))


def _calibration_error(labels: Labels, probabilities: Probabilities) -> float:
    return float(measure_calibration_error(labels, probabilities, np.ones((1, len(labels))))[0])


METRICS: dict[str, Callable[[Labels, Probabilities], float]] = {
    "accuracy": _of_labels(sk.accuracy_score),
    # Recall of the classes that are there; unlike scikit-learn's own name for it, it does not warn of the others.
    "balanced_accuracy": lambda labels, probabilities: float(
        sk.recall_score(labels, probabilities.argmax(axis=1), labels=np.unique(labels), average="macro")
    ),
    "precision": _of_labels(sk.precision_score, average="macro", zero_division=0.0),
    "recall": _of_labels(sk.recall_score, average="macro", zero_division=0.0),
    "f1": _of_labels(sk.f1_score, average="macro", zero_division=0.0),
    "roc_auc": _one_against_rest(sk.roc_auc_score),
    "pr_auc": _one_against_rest(sk.average_precision_score),
    "log_loss": _of_probabilities(sk.log_loss),
    "brier": _of_probabilities(sk.brier_score_loss, scale_by_half=True),
    "calibration_error": _calibration_error,
}


def estimate_accuracy(labels: Labels, probabilities: Probabilities) -> Estimate:
    """Accuracy with Wilson's interval: `value`, `low`, `high`, `n`, `errors`."""
    num_right = int((probabilities.argmax(axis=1) == labels).sum())
    interval = binomtest(num_right, len(labels)).proportion_ci(method="wilson")
    value = num_right / len(labels)
    return {"value": value, "low": interval.low, "high": interval.high, "n": len(labels), "errors": len(labels) - num_right}


def estimate_metrics(
    labels: Labels, probabilities: Probabilities, seed: int, groups: NDArray[np.str_] | None = None
) -> dict[str, Estimate]:
    """Every metric of `METRICS` with its interval.

    Args:
        labels: Class numbers, shape (n,).
        probabilities: Shape (n, num_classes).
        seed: Of the bootstrap.
        groups: One for each image, shape (n,); images of a group (near-duplicates, a breed) are drawn together, because they are alike.
            By default each stands for itself.

    Returns:
        For each metric `value`, `low`, `high` and `n`.
    """
    weights = draw_weights(np.arange(len(labels)) if groups is None else groups, seed)
    estimates = {"accuracy": estimate_accuracy(labels, probabilities)}
    for name, metric in METRICS.items():
        if name not in estimates:
            value = metric(labels, probabilities)
            low, high = np.nanpercentile(RESAMPLED[name](labels, probabilities, weights), [2.5, 97.5]) if value == value else (value, value)
            # Resamples hold repetitions, which makes some metrics look worse in all of them than on the images themselves.
            estimates[name] = {"value": value, "low": min(float(low), value), "high": max(float(high), value), "n": len(labels)}
    return estimates


def state_count(accuracy: Mapping[str, float]) -> str:
    """Errors and accuracy: "13 errors in 2,000 images, accuracy 99.4 % (98.9 to 99.6)"."""
    errors, n = int(accuracy["errors"]), int(accuracy["n"])
    return (
        f"{errors:,} error{'' if errors == 1 else 's'} in {n:,} images, accuracy "
        f"{100 * accuracy['value']:.1f} % ({100 * accuracy['low']:.1f} to {100 * accuracy['high']:.1f})"
    )
