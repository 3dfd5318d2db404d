"""The metrics on many resamples at once, for their intervals.

A resample is a weight for each image: how often it was drawn. Each function here takes all resamples as one matrix of weights, shape
(num_resamples, n), and returns a value for each, shape (num_resamples,); with weights of one it says what scikit-learn says, which a test
holds it to. So the cost is a few passes over that matrix instead of thousands of calls.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

Labels = NDArray[np.int64]
Probabilities = NDArray[np.floating]
#: One value for each resample.
Draws = NDArray[np.float64]
Resampled = Callable[[Labels, Probabilities, Draws], Draws]

_NUM_RESAMPLES = 400
_NUM_BINS = 15


def draw_weights(groups: NDArray[Any], seed: int) -> Draws:
    """How often each image is drawn in each resample, shape (num_resamples, n); all images of a group equally often."""
    names, group_of_image = np.unique(groups, return_inverse=True)
    generator = np.random.default_rng(seed)
    counts = [np.bincount(generator.integers(0, len(names), len(names)), minlength=len(names)) for _ in range(_NUM_RESAMPLES)]
    return np.stack(counts).astype(np.float64)[:, group_of_image]


def measure_calibration_error(labels: Labels, probabilities: Probabilities, weights: Draws) -> Draws:
    """Expected calibration error: between the probability of the answer and the share of right ones, in 15 bins of equal width, averaged.

    Guo et al., "On Calibration of Modern Neural Networks" (2017).
    """
    answers = probabilities.argmax(axis=1)
    confidence = probabilities[np.arange(len(labels)), answers]
    bins = np.minimum((confidence * _NUM_BINS).astype(np.int64), _NUM_BINS - 1)
    excess = np.eye(_NUM_BINS)[bins] * ((answers == labels) - confidence)[:, np.newaxis]
    return np.asarray(np.abs(weights @ excess).sum(axis=1) / weights.sum(axis=1))


def _mean(measure: Callable[[Labels, Probabilities], NDArray[np.floating]]) -> Resampled:
    """Of a metric that is the mean of a value for each image."""
    return lambda labels, probabilities, weights: weights @ measure(labels, probabilities) / weights.sum(axis=1)


def _surprise(labels: Labels, probabilities: Probabilities) -> NDArray[np.floating]:
    given = probabilities[np.arange(len(labels)), labels]
    return np.asarray(-np.log(np.maximum(given, np.finfo(probabilities.dtype).eps)))


def _squared_error(labels: Labels, probabilities: Probabilities) -> NDArray[np.floating]:
    return np.asarray(((probabilities - np.eye(probabilities.shape[1])[labels]) ** 2).sum(axis=1) / 2)


def _of_counts(measure: Callable[[Draws, Draws, Draws], Draws]) -> Resampled:
    """Of a metric that follows from how many were right, answered and true of each class, all (num_resamples, num_classes)."""

    def compute(labels: Labels, probabilities: Probabilities, weights: Draws) -> Draws:
        num_classes = probabilities.shape[1]
        answers = probabilities.argmax(axis=1)
        true = weights @ np.eye(num_classes)[labels]
        answered = weights @ np.eye(num_classes)[answers]
        right = weights @ (np.eye(num_classes)[labels] * (answers == labels)[:, np.newaxis])
        return measure(right, answered, true)

    return compute


def _average(values: Draws, are_there: NDArray[np.bool_]) -> Draws:
    return np.asarray(np.where(are_there, values, 0.0).sum(axis=1) / are_there.sum(axis=1))


def _ratio(numerator: Draws, denominator: Draws) -> Draws:
    return np.divide(numerator, denominator, out=np.zeros_like(numerator), where=denominator > 0)


def _against_rest(measure: Callable[[Draws, Draws], Draws]) -> Resampled:
    """Of a metric of a ranking, one class against the rest, averaged over the classes that a resample holds."""

    def compute(labels: Labels, probabilities: Probabilities, weights: Draws) -> Draws:
        values = [measure(*counts) for counts in _count_ranks(labels, probabilities, weights)]
        return np.asarray(np.nanmean(values, axis=0))

    def _count_ranks(labels: Labels, probabilities: Probabilities, weights: Draws) -> Iterator[tuple[Draws, Draws]]:
        for number in np.unique(labels):
            order = np.argsort(-probabilities[:, number], kind="stable")
            starts = np.flatnonzero(np.diff(probabilities[order, number], prepend=np.inf))
            is_class = labels[order] == number
            ranked = weights[:, order]
            yield np.add.reduceat(ranked * is_class, starts, axis=1), np.add.reduceat(ranked * ~is_class, starts, axis=1)

    return compute


def _area_under_roc(positive: Draws, negative: Draws) -> Draws:
    """From the weights of both kinds at each distinct score, the highest first."""
    below = negative.sum(axis=1, keepdims=True) - np.cumsum(negative, axis=1)
    pairs = positive.sum(axis=1) * negative.sum(axis=1)
    won = (positive * (below + negative / 2)).sum(axis=1)
    return np.asarray(np.divide(won, pairs, out=np.full(len(pairs), np.nan), where=pairs > 0))


def _average_precision(positive: Draws, negative: Draws) -> Draws:
    num_found = np.cumsum(positive, axis=1)
    precision = _ratio(num_found, num_found + np.cumsum(negative, axis=1))
    total = num_found[:, -1]
    found = (positive * precision).sum(axis=1)
    return np.asarray(np.divide(found, total, out=np.full(len(total), np.nan), where=total > 0))


RESAMPLED: dict[str, Resampled] = {
    "accuracy": _mean(lambda labels, probabilities: (probabilities.argmax(axis=1) == labels).astype(np.float64)),
    "balanced_accuracy": _of_counts(lambda right, answered, true: _average(_ratio(right, true), true > 0)),
    "precision": _of_counts(lambda right, answered, true: _average(_ratio(right, answered), answered + true > 0)),
    "recall": _of_counts(lambda right, answered, true: _average(_ratio(right, true), answered + true > 0)),
    "f1": _of_counts(lambda right, answered, true: _average(_ratio(2 * right, answered + true), answered + true > 0)),
    "roc_auc": _against_rest(_area_under_roc),
    "pr_auc": _against_rest(_average_precision),
    "log_loss": _mean(_surprise),
    "brier": _mean(_squared_error),
    "calibration_error": measure_calibration_error,
}
