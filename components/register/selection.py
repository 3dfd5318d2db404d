"""Which of many candidates is registered, by the recipe's policy and their answers on the validation split.

The best of many looks better than it is, and the more so the more there are. The test split takes no part here, so the winner's test
score needs no correction. What needs one is every statement about the others: that they cannot be told from the best, or that they are
worse by less than a margin. Both come from the largest deviation over all candidates in each resample, each in standard deviations of its
own (a max-statistic bootstrap, which unlike Holm's method knows that candidates err on the same images), so that with 95 % certainty all of
them hold at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from components.common.bootstrap import draw_weights
from components.common.errors import PawflowError
from components.common.recipe import Recipe
from components.register.answers import Answers, select_judged
from components.register.statistics import SIGNIFICANCE, TWO_SIDED, Difference, bonett_price, count_disagreements, draw_scores


@dataclass(frozen=True)
class Choice:
    """The winner, and how sure that is.

    Attributes:
        winner: Name of the candidate.
        best: Name of the one with the best value, which another policy may pass over.
        ties: Candidates that chance alone may have put behind the best.
        within_margin: Candidates shown to be at most `select_margin` behind the best; itself among them.
        num_images: Validation images that the choice was made by.
        reason: In a sentence.
    """

    winner: str
    best: str
    ties: tuple[str, ...]
    within_margin: tuple[str, ...]
    num_images: int
    reason: str


def choose_winner(candidates: dict[str, Answers], latencies: dict[str, float], recipe: Recipe) -> Choice:
    """Choose by `recipe.select` and `recipe.select_policy`; of equals, the first.

    Args:
        candidates: Answers on the validation split.
        latencies: Milliseconds of one photo.
        recipe: The experiment.

    Raises:
        PawflowError: No candidate has a finite value.
    """
    # The images that the gate would judge by, if they are enough to choose by.
    judged = {name: select_judged(answers, recipe.gate, recipe.gate.min_images) for name, answers in candidates.items()}
    finite = {name: answers for name, answers in judged.items() if np.isfinite(answers.probabilities).all()}
    first = next(iter(judged.values()))
    values = {name: _score(answers, recipe, np.ones((1, len(answers.rows))))[0] for name, answers in finite.items()}
    values = {name: float(value) for name, value in values.items() if np.isfinite(value)}
    if not values:
        raise PawflowError(f"no candidate has a finite {recipe.select} on the validation split; candidates: {', '.join(candidates)}")
    best = max(values, key=values.__getitem__)
    behind = _measure_distances({name: finite[name] for name in values}, best, recipe)
    ties = tuple(name for name, distance in behind.items() if distance.low <= 0)
    within = tuple(name for name in values if name == best or behind[name].high <= recipe.select_margin)
    winner = best if recipe.select_policy == "best" else min(within, key=lambda name: latencies[name])
    reason = _explain(winner, best, abs(values[winner]), ties, within, len(first.rows), recipe)
    return Choice(winner, best, ties, within, len(first.rows), reason)


def _score(answers: Answers, recipe: Recipe, weights: np.ndarray[Any, np.dtype[np.float64]]) -> np.ndarray[Any, np.dtype[np.float64]]:
    return draw_scores(recipe.select, answers.labels, answers.probabilities, weights)


def _measure_distances(candidates: dict[str, Answers], best: str, recipe: Recipe) -> dict[str, Difference]:
    """How far each of the others is behind the best, in intervals of which all hold at once in 95 % of the resamples.

    Every deviation is counted in standard deviations of its own distance, so that one poor candidate does not widen the intervals of all.
    As for the gate, that of a difference in accuracy is at least as wide as Bonett and Price's.
    """
    first = candidates[best]
    images, weights = np.ones((1, len(first.rows))), draw_weights(first.groups, recipe.seed)
    value, draws = (_score(first, recipe, drawn) for drawn in (images, weights))
    others = {name: answers for name, answers in candidates.items() if name != best}
    distances = {name: float((value - _score(answers, recipe, images))[0]) for name, answers in others.items()}
    deviations = {name: draws - _score(answers, recipe, weights) - distances[name] for name, answers in others.items()}
    spreads = {name: float(np.nanstd(found)) for name, found in deviations.items()}
    # Where candidates never disagree, no resample deviates.
    counted = [np.abs(deviations[name]) / spread for name, spread in spreads.items() if spread > 0]
    reach = max(TWO_SIDED, float(np.nanquantile(np.stack(counted).max(axis=0), 1 - SIGNIFICANCE)) if counted else 0.0)
    intervals = {}
    for name, distance in distances.items():
        low, high = distance - reach * spreads[name], distance + reach * spreads[name]
        if recipe.select == "accuracy":
            only = count_disagreements(first.labels, first.probabilities, others[name].probabilities)
            wider = bonett_price(*only, len(first.rows), reach)
            low, high = min(low, wider.low), max(high, wider.high)
        intervals[name] = Difference(distance, low, high)
    return intervals


def _explain(winner: str, best: str, value: float, ties: tuple[str, ...], within: tuple[str, ...], num_images: int, recipe: Recipe) -> str:
    measured = f"{recipe.select} {value:.4f} on {num_images} validation images"
    if recipe.select_policy == "best":
        others = f"; chance alone may have put {', '.join(ties)} behind it" if ties else ""
        return f"{winner} is best with {measured}{others}"
    return (
        f"{winner} with {measured} is the fastest of {len(within)} shown to be within {recipe.select_margin:g} of the best, {best}"
        if len(within) > 1
        else f"{winner} is best with {measured}, and no other is shown to be within {recipe.select_margin:g} of it"
    )
