"""Metrics with intervals; scikit-learn does the arithmetic.

Precision, recall and F1 are averages over the classes (macro), so that two classes are treated alike and many are possible; ROC AUC is
one class against the rest, averaged likewise. Intervals are 95 %: Wilson's for accuracy, the percentile bootstrap for the others.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest
from sklearn import metrics as sk

Labels = NDArray[np.int64]
Probabilities = NDArray[np.floating]
Estimate = dict[str, float]

_NUM_RESAMPLES = 200


def _roc_auc(labels: Labels, probabilities: Probabilities) -> float:
    one_hot = np.eye(probabilities.shape[1])[labels]
    present = one_hot.any(axis=0)
    if present.sum() < 2:
        return math.nan
    return float(sk.roc_auc_score(one_hot[:, present], probabilities[:, present], average="macro"))


def _macro(score: Callable[..., float]) -> Callable[[Labels, Probabilities], float]:
    return lambda labels, probabilities: float(score(labels, probabilities.argmax(axis=1), average="macro", zero_division=0.0))


METRICS: dict[str, Callable[[Labels, Probabilities], float]] = {
    "accuracy": lambda labels, probabilities: float(sk.accuracy_score(labels, probabilities.argmax(axis=1))),
    "precision": _macro(sk.precision_score),
    "recall": _macro(sk.recall_score),
    "f1": _macro(sk.f1_score),
    "roc_auc": _roc_auc,
    "log_loss": lambda labels, probabilities: float(sk.log_loss(labels, probabilities, labels=range(probabilities.shape[1]))),
}


def estimate_accuracy(labels: Labels, probabilities: Probabilities) -> Estimate:
    """Accuracy with Wilson's interval: `value`, `low`, `high`, `n`, `errors`."""
    num_right = int((probabilities.argmax(axis=1) == labels).sum())
    interval = binomtest(num_right, len(labels)).proportion_ci(method="wilson")
    value = num_right / len(labels)
    return {"value": value, "low": interval.low, "high": interval.high, "n": len(labels), "errors": len(labels) - num_right}


def estimate_metrics(labels: Labels, probabilities: Probabilities, seed: int) -> dict[str, Estimate]:
    """Every metric of `METRICS` with its interval.

    Args:
        labels: Class numbers, shape (n,).
        probabilities: Shape (n, num_classes).
        seed: Of the bootstrap.

    Returns:
        For each metric `value`, `low`, `high` and `n`.
    """
    generator = np.random.default_rng(seed)
    resamples = [generator.integers(0, len(labels), len(labels)) for _ in range(_NUM_RESAMPLES)]
    estimates = {"accuracy": estimate_accuracy(labels, probabilities)}
    for name, metric in METRICS.items():
        if name not in estimates:
            draws = [metric(labels[rows], probabilities[rows]) for rows in resamples]
            low, high = np.nanpercentile(draws, [2.5, 97.5])
            estimates[name] = {"value": metric(labels, probabilities), "low": float(low), "high": float(high), "n": len(labels)}
    return estimates
