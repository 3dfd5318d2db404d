"""Metrics with intervals; scikit-learn does the arithmetic.

Precision, recall and F1 are averages over the classes (macro), so that two classes are treated alike and many are possible; the areas
under the ROC and the precision-recall curve are one class against the rest, averaged likewise. Intervals are 95 %: Wilson's for accuracy,
at as many images as their groups are worth; the bootstrap over whole groups of images for the others. docs/evaluation.md defines each.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm, t
from sklearn import metrics as sk

from components.common.bootstrap import RESAMPLED, Labels, Probabilities, draw_weights, measure_calibration_error

Estimate = dict[str, float]

__all__ = ["METRICS", "Estimate", "Labels", "Probabilities", "estimate_accuracy", "estimate_metrics", "find_interval"]


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


def find_interval(right: NDArray[np.bool_], groups: NDArray[Any] | None, level: float = 0.95) -> tuple[float, float]:
    """Wilson's interval of a share, at as many images as their groups are worth.

    Args:
        right: What the share is of, shape (n,).
        groups: One for each image, shape (n,); images of a group are alike. With None each image stands for itself.
        level: How often the interval holds the share.
    """
    share, num_images = float(right.mean()), float(len(right)) if groups is None else _count_independent(right, groups, level)
    squared = float(norm.ppf((1 + level) / 2)) ** 2

    def lower_end(share: float) -> float:
        spread = math.sqrt(squared * (num_images * share * (1 - share) + squared / 4))
        return (num_images * share + squared / 2 - spread) / (num_images + squared)

    return lower_end(share), 1 - lower_end(1 - share)


def _count_independent(right: NDArray[np.bool_], groups: NDArray[Any], level: float) -> float:
    """How many images, each by itself, would say as much about the share: n where no group has several images, else less.

    n is divided by the design effect, the variance between groups over that of single images, and by the squared ratio of Student's
    quantiles, since few groups do not tell that variance well. Korn and Graubard, "Confidence intervals for proportions with small
    expected number of positive counts estimated from survey data" (1998). Groups of unequal size count as Kish's number of equal ones.
    One group alone has no other to be compared with: then the interval is about that group.
    """
    _, group_of_image = np.unique(groups, return_inverse=True)
    sizes, num_images, share = np.bincount(group_of_image), len(right), right.mean()
    if len(sizes) in (1, num_images):
        return float(num_images)
    num_groups = num_images**2 / (sizes**2).sum()
    excess = np.bincount(group_of_image, right) - sizes * share
    between, single = (excess**2).sum() / num_images**2 * num_groups / (num_groups - 1), share * (1 - share) / (num_images - 1)
    effect = max(1.0, between / single) if single else 1.0
    quantiles = t.ppf((1 + level) / 2, [num_images - 1, num_groups - 1])
    return float(num_images / effect * (quantiles[0] / quantiles[1]) ** 2)


def estimate_accuracy(labels: Labels, probabilities: Probabilities, groups: NDArray[Any] | None) -> Estimate:
    """Accuracy with the interval of `find_interval`: `value`, `low`, `high`, `n`, `errors`."""
    right = probabilities.argmax(axis=1) == labels
    low, high = find_interval(right, groups)
    return {"value": float(right.mean()), "low": low, "high": high, "n": len(labels), "errors": int((~right).sum())}


def estimate_metrics(labels: Labels, probabilities: Probabilities, seed: int, groups: NDArray[Any] | None = None) -> dict[str, Estimate]:
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
    estimates = {"accuracy": estimate_accuracy(labels, probabilities, groups)}
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
