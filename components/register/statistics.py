"""The statistics of a comparison: of two models on the same images, and of one model on two kinds of images.

Nothing here decides: numbers go in, estimates with intervals and p-values come out. docs/adr/0006-gate.md says why these and no others.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest, norm

from components.common.bootstrap import RESAMPLED, Draws, Labels, Probabilities, draw_weights
from components.common.metrics import find_interval
from components.common.recipe import LOWER_IS_BETTER, Metric

#: How often chance alone may be taken for a difference.
SIGNIFICANCE = 0.05
#: Standard deviations to either side that chance does not exceed more often.
TWO_SIDED = float(norm.ppf(1 - SIGNIFICANCE / 2))


@dataclass(frozen=True)
class Difference:
    """By how much one is better than the other, whatever the direction of the metric: an estimate with its 95 % interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:+.4f} ({self.low:+.4f} to {self.high:+.4f})"


def draw_scores(metric: Metric, labels: Labels, probabilities: Probabilities, weights: Draws) -> Draws:
    """A metric on many resamples, its sign such that more is better, shape (num_resamples,).

    Args:
        metric: Which.
        labels: Class numbers, shape (n,).
        probabilities: Shape (n, num_classes).
        weights: How often each image is in each resample, shape (num_resamples, n).
    """
    return RESAMPLED[metric](labels, probabilities, weights) * (-1.0 if metric in LOWER_IS_BETTER else 1.0)


def measure_gain(
    metric: Metric, labels: Labels, challenger: Probabilities, champion: Probabilities, groups: NDArray[Any], seed: int
) -> Difference:
    """How much better the challenger is, by the paired bootstrap over whole groups of images.

    Where models seldom disagree a resample may hold no disagreement at all, and the bootstrap is surer than it may be; so the interval
    of a difference in accuracy is at least as wide as that of Bonett and Price.

    Args:
        metric: What to compare by.
        labels: Class numbers, shape (n,).
        challenger: Probabilities, shape (n, num_classes).
        champion: Likewise.
        groups: One for each image; images of a group are alike, so they are drawn together.
        seed: Of the resamples.
    """
    ones = np.ones((1, len(labels)))
    value, draws = (
        draw_scores(metric, labels, challenger, weights) - draw_scores(metric, labels, champion, weights)
        for weights in (ones, draw_weights(groups, seed))
    )
    gain, low, high = float(value[0]), *(float(bound) for bound in np.nanpercentile(draws, [2.5, 97.5]))
    if metric == "accuracy":
        wider = bonett_price(*count_disagreements(labels, challenger, champion), len(labels))
        low, high = min(low, wider.low), max(high, wider.high)
    return Difference(gain, low, high)


def count_disagreements(labels: Labels, challenger: Probabilities, champion: Probabilities) -> tuple[int, int]:
    """How many images only the challenger got right, and how many only the champion."""
    first, second = (probabilities.argmax(axis=1) == labels for probabilities in (challenger, champion))
    return int((first & ~second).sum()), int((second & ~first).sum())


def bonett_price(only_first: int, only_second: int, num_images: int, deviations: float = TWO_SIDED) -> Difference:
    """Difference of two paired proportions with its interval; "Adjusted Wald Confidence Interval" (2012), with Laplace's estimates.

    Args:
        only_first: Images that only the first got right.
        only_second: Likewise.
        num_images: All.
        deviations: Standard deviations that the interval reaches to either side; by default those of 95 %.
    """
    first, second = (only_first + 1) / (num_images + 2), (only_second + 1) / (num_images + 2)
    middle = first - second
    reach = deviations * math.sqrt((first + second - middle**2) / (num_images + 2))
    return Difference((only_first - only_second) / num_images, middle - reach, middle + reach)


def mcnemar(only_first: int, only_second: int, *, alternative: str = "two-sided") -> float:
    """Exact McNemar test: how likely so uneven a disagreement is between equally good models.

    Args:
        only_first: Images that only the first got right.
        only_second: Likewise.
        alternative: `two-sided`; or `less`, that the first is the worse one.
    """
    disagreements = only_first + only_second
    return float(binomtest(only_first, disagreements, alternative=alternative).pvalue) if disagreements else 1.0


def newcombe(
    right: tuple[NDArray[np.bool_], NDArray[np.bool_]], groups: tuple[NDArray[Any], NDArray[Any]], num_questions: int
) -> Difference:
    """Difference of two independent proportions; Newcombe's interval (1998, method 10) from those of `find_interval`.

    Args:
        right: What the proportions are of: of the first, shape (n,), and of the second, shape (m,).
        groups: One for each image, likewise; images of a group are alike.
        num_questions: How many differences are looked at; each interval is so wide that 95 % of the times all hold.
    """
    shares = [float(part.mean()) for part in right]
    first, second = (find_interval(*part, 1 - SIGNIFICANCE / num_questions) for part in zip(right, groups, strict=True))
    gap = shares[0] - shares[1]
    below, above = math.hypot(shares[0] - first[0], second[1] - shares[1]), math.hypot(first[1] - shares[0], shares[1] - second[0])
    return Difference(gap, gap - below, gap + above)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjustment: each is to be compared with the significance for all questions together."""
    adjusted, largest = [0.0] * len(p_values), 0.0
    for rank, position in enumerate(sorted(range(len(p_values)), key=lambda position: p_values[position])):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[position]))
        adjusted[position] = largest
    return adjusted
