"""Whether a challenger may take the champion's place: pure functions from numbers to a verdict.

A tie keeps the champion: a change that shows no gain is not worth its risk.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from scipy.stats import binomtest

from components.common.recipe import LOWER_IS_BETTER, Gate

Estimate = dict[str, float]


@dataclass(frozen=True)
class Comparison:
    """Challenger and champion on the same images.

    Attributes:
        num_images: How many both were judged on; those that the champion was trained on are left out.
        challenger: The gate's metric of the challenger on them.
        champion: Likewise of the champion.
        only_challenger_right: Images that only the challenger got right.
        only_champion_right: Images that only the champion got right.
    """

    num_images: int
    challenger: float
    champion: float
    only_challenger_right: int
    only_champion_right: int

    @property
    def p_value(self) -> float:
        """Exact two-sided McNemar test: how likely so uneven a disagreement is between equally good models."""
        disagreements = self.only_challenger_right + self.only_champion_right
        return float(binomtest(self.only_challenger_right, disagreements).pvalue) if disagreements else 1.0


@dataclass(frozen=True)
class Decision:
    """The gate's answer and the reason in a sentence."""

    promote: bool
    reason: str


def decide(challenger: Estimate, comparison: Comparison | None, gate: Gate) -> Decision:
    """Decide whether the challenger becomes champion.

    Args:
        challenger: The gate's metric on the whole test split: `value`, `low`, `high`, `n`.
        comparison: None while there is no champion.
        gate: The recipe's rule.
    """
    lower_is_better = gate.metric in LOWER_IS_BETTER
    worst = challenger["high"] if lower_is_better else challenger["low"]
    interval = f"95 % interval {challenger['low']:.4f} to {challenger['high']:.4f}, n = {challenger['n']:.0f}"
    measured = f"{gate.metric} {challenger['value']:.4f} ({interval})"
    if not all(math.isfinite(challenger[key]) for key in ("value", "low", "high")):
        return Decision(False, f"refused: {gate.metric} of the challenger is not a number")
    if (worst > gate.floor) if lower_is_better else (worst < gate.floor):
        return Decision(False, f"refused: {measured} does not clear the floor of {gate.floor:g}")
    if comparison is None:
        return Decision(True, f"promoted: {measured} clears the floor of {gate.floor:g}, and there is no champion yet")
    if comparison.num_images < gate.min_images:
        return Decision(
            False,
            f"refused: only {comparison.num_images} test images are new to the champion; at least {gate.min_images} are needed to compare",
        )
    gain = (comparison.champion - comparison.challenger) if lower_is_better else (comparison.challenger - comparison.champion)
    against = (
        f"{gate.metric} {comparison.challenger:.4f} against the champion's {comparison.champion:.4f} on the same "
        f"{comparison.num_images} images ({comparison.only_challenger_right} right by the challenger alone, "
        f"{comparison.only_champion_right} by the champion alone, p = {comparison.p_value:.3g})"
    )
    # Not `gain <= min_gain`, so that a NaN of the champion cannot promote either.
    if not gain > gate.min_gain:
        return Decision(False, f"kept the champion: {against}; more than {gate.min_gain:g} to the better is needed")
    return Decision(True, f"promoted: {against}")
