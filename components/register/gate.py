"""Whether a challenger may take the champion's place: pure functions from numbers to a verdict.

In: what was measured of the challenger, the comparison with the champion if there is one, and the recipe's rule. Out: a decision, with
every question that was asked and its answer. A difference counts where it is larger than its margin and larger than chance; a number
that is none (NaN) answers no question well; a tie keeps the champion, since a change that shows no gain is not worth its risk.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from components.common.confounding import HARMLESS_LEVELS, TELLING_LEVELS
from components.common.recipe import LOWER_IS_BETTER, Gate
from components.register.statistics import SIGNIFICANCE, Difference, holm, mcnemar

Estimate = dict[str, float]

#: Largest difference in probability, between any two forms of a model, that rounding explains.
PARITY_TOLERANCE = 1e-4


@dataclass(frozen=True)
class Gap:
    """The class whose recall differs most between images whose source gives it away and the others."""

    label: str
    difference: Difference


@dataclass(frozen=True)
class Confounding:
    """Whether the source of an image, instead of what it shows, can carry the score.

    Attributes:
        level: The audit's word: `none`, `slight`, `strong`, `severe`, or `unknown`.
        finding: The audit's sentence.
        num_images: Images of the test split.
        num_clean: Those of which neither the source nor the file tells the class; all of them where the audit found nothing.
        gap: None where no class has images of both kinds.
    """

    level: str
    finding: str
    num_images: int
    num_clean: int
    gap: Gap | None


@dataclass(frozen=True)
class Challenger:
    """What was measured of a challenger by itself, on the clean test images.

    Attributes:
        estimate: The gate's metric: `value`, `low`, `high`, `n`.
        log_loss: In nats.
        guessing: Log-loss of always answering the shares of the classes.
        latency_ms: Median of one photo on one thread, decoding apart.
        megabytes: Size of the served network.
        parity: Largest difference in probability between its forms, see `components.register.certificate`.
        confounding: What the audit found, and what it means for this model.
    """

    estimate: Estimate
    log_loss: float
    guessing: float
    latency_ms: float
    megabytes: float
    parity: float
    confounding: Confounding


@dataclass(frozen=True)
class Slice:
    """Challenger and champion on the common images of one slice."""

    name: str
    num_images: int
    only_challenger_right: int
    only_champion_right: int

    @property
    def loss(self) -> float:
        """By how much the challenger's accuracy is lower."""
        return (self.only_champion_right - self.only_challenger_right) / self.num_images


@dataclass(frozen=True)
class Comparison:
    """Challenger and champion on the same images.

    Attributes:
        num_images: How many both were judged on.
        num_left_out: Clean test images that the champion was trained on, and that are therefore left out.
        challenger: The gate's metric of the challenger on them.
        champion: Likewise of the champion.
        gain: How much better the challenger is by the gate's metric.
        calibration: How much better its log-loss is.
        only_challenger_right: Images that only the challenger got right.
        only_champion_right: Images that only the champion got right.
        slices: Every slice of at least the rule's number of images.
        slowdown: The challenger's latency divided by the champion's.
    """

    num_images: int
    num_left_out: int
    challenger: float
    champion: float
    gain: Difference
    calibration: Difference
    only_challenger_right: int
    only_champion_right: int
    slices: tuple[Slice, ...] = ()
    slowdown: float = 1.0

    @property
    def p_value(self) -> float:
        """Of the exact two-sided McNemar test."""
        return mcnemar(self.only_challenger_right, self.only_champion_right)


@dataclass(frozen=True)
class Check:
    """One question of the gate and its answer in words."""

    name: str
    passed: bool
    statement: str


@dataclass(frozen=True)
class Decision:
    """The gate's answer, the same in a sentence with its reason, and every question that was asked."""

    promote: bool
    verdict: str
    checks: tuple[Check, ...]


def decide(challenger: Challenger, comparison: Comparison | None, rule: Gate) -> Decision:
    """Decide whether the challenger becomes champion.

    Args:
        challenger: What was measured of it alone.
        comparison: None while there is no champion.
        rule: The recipe's.
    """
    checks = [check(challenger, rule) for check in _ALONE]
    if comparison is not None:
        checks.append(_check_number_of_images(comparison, rule))
        if checks[-1].passed:
            checks += [check(comparison, rule) for check in _AGAINST_CHAMPION]
    failed = [check for check in checks if not check.passed]
    if [check.name for check in failed] == ["gain"]:
        verdict = f"kept the champion: {failed[0].statement}"
    elif failed:
        verdict = f"refused: {'; '.join(check.statement for check in failed)}"
    else:
        shown = next(check for check in checks if check.name == ("floor" if comparison is None else "gain"))
        verdict = f"promoted: {shown.statement}" + (", and there is no champion yet" if comparison is None else "")
    level = challenger.confounding.level
    if not failed and rule.confounding == "report" and level in TELLING_LEVELS:
        verdict += f"; confounding is {level} and was only reported"
    if rule.loosened:
        verdict += "; the gate was loosened by --smoke"
    return Decision(not failed, verdict, tuple(checks))


def _check_parity(challenger: Challenger, rule: Gate) -> Check:
    passed = challenger.parity <= PARITY_TOLERANCE
    relation = "within" if passed else "more than"
    return Check(
        "parity", passed, f"its forms differ by {challenger.parity:.2g} in probability, {relation} the {PARITY_TOLERANCE:g} of rounding"
    )


_REMEDY = "Collect the classes alike, or accept a score that the files may explain: gate.confounding=report"


def _check_confounding(challenger: Challenger, rule: Gate) -> Check:
    found = challenger.confounding
    if rule.confounding == "report" or found.level in HARMLESS_LEVELS:
        return Check("confounding", True, f"confounding {found.level}" + (", reported only" if rule.confounding == "report" else ""))
    counted = f"{found.num_clean} of {found.num_images} test images"
    if found.num_clean < rule.min_images:
        statement = f"confounding is {found.level}, and only {counted} do not give their class away by their file or source; at least"
        return Check("confounding", False, f"{statement} {rule.min_images} are needed, since a score on the others says nothing. {_REMEDY}")
    gap = found.gap
    if gap is not None and not _is_harmless(-gap.difference.value, -gap.difference.low, rule.max_gap):
        statement = f"of {gap.label}, {100 * gap.difference.value:.1f} points more are recognised where the source gives the class away"
        return Check(
            "confounding", False, f"{statement} than where it does not, so the source carries the model (at most {100 * rule.max_gap:g})"
        )
    return Check("confounding", True, f"confounding {found.level}: judged by the {counted} that do not give their class away")


def _check_floor(challenger: Challenger, rule: Gate) -> Check:
    estimate, lower_is_better = challenger.estimate, rule.metric in LOWER_IS_BETTER
    if not all(math.isfinite(estimate[key]) for key in ("value", "low", "high")):
        return Check("floor", False, f"{rule.metric} of the challenger is not a number")
    passed = estimate["high"] <= rule.floor if lower_is_better else estimate["low"] >= rule.floor
    interval = f"95 % interval {estimate['low']:.4f} to {estimate['high']:.4f}, n = {estimate['n']:.0f}"
    measured = f"{rule.metric} {estimate['value']:.4f} ({interval})"
    return Check("floor", passed, f"{measured} {'clears' if passed else 'does not clear'} the floor of {rule.floor:g}")


def _check_log_loss(challenger: Challenger, rule: Gate) -> Check:
    worst = challenger.guessing if rule.max_log_loss is None else rule.max_log_loss
    passed = challenger.log_loss < worst
    meaning = " of always answering the shares of the classes" if rule.max_log_loss is None else " of the rule"
    relation = "below" if passed else "not below"
    return Check("log_loss", passed, f"its log-loss of {challenger.log_loss:.4f} is {relation} the {worst:.4f}{meaning}")


def _check_latency(challenger: Challenger, rule: Gate) -> Check:
    passed = challenger.latency_ms <= rule.max_latency_ms
    return Check(
        "latency", passed, f"a photo takes {challenger.latency_ms:.1f} ms on one thread; at most {rule.max_latency_ms:g} are allowed"
    )


def _check_size(challenger: Challenger, rule: Gate) -> Check:
    passed = challenger.megabytes <= rule.max_megabytes
    return Check("size", passed, f"the network has {challenger.megabytes:.1f} MB; at most {rule.max_megabytes:g} are allowed")


def _check_number_of_images(comparison: Comparison, rule: Gate) -> Check:
    passed = comparison.num_images >= rule.min_images
    left_out = f" ({comparison.num_left_out} are left out: it was trained on them)" if comparison.num_left_out else ""
    counted = f"{'' if passed else 'only '}{comparison.num_images} test images are new to the champion{left_out}"
    return Check("images", passed, counted + ("" if passed else f"; at least {rule.min_images} are needed to compare"))


def _check_gain(comparison: Comparison, rule: Gate) -> Check:
    against = (
        f"{rule.metric} {comparison.challenger:.4f} against the champion's {comparison.champion:.4f} on the same "
        f"{comparison.num_images} images ({comparison.only_challenger_right} right by the challenger alone, "
        f"{comparison.only_champion_right} by the champion alone, p = {comparison.p_value:.3g}); gain {comparison.gain}"
    )
    if rule.require == "not_worse":
        passed = comparison.gain.low > -rule.margin
        return Check("gain", passed, against + ("" if passed else f"; a loss of {rule.margin:g} or more cannot be ruled out"))
    if not comparison.gain.value > rule.min_gain:
        return Check("gain", False, f"{against}; more than {rule.min_gain:g} to the better is needed")
    passed = comparison.gain.low > 0 and (rule.metric != "accuracy" or comparison.p_value <= SIGNIFICANCE)
    return Check("gain", passed, against + ("" if passed else "; chance alone can explain so small a difference"))


def _check_slices(comparison: Comparison, rule: Gate) -> Check:
    p_values = holm([mcnemar(part.only_challenger_right, part.only_champion_right, alternative="less") for part in comparison.slices])
    worse = [
        f"{part.name} by {100 * part.loss:.1f} points (n = {part.num_images}, p = {p_value:.2g})"
        for part, p_value in zip(comparison.slices, p_values, strict=True)
        if part.loss > rule.slice_margin and p_value <= SIGNIFICANCE
    ]
    if worse:
        return Check("slices", False, f"worse than the champion on {', '.join(worse)}")
    return Check(
        "slices", True, f"no worse than the champion on any of {len(comparison.slices)} slices of {rule.slice_images} images or more"
    )


def _check_calibration(comparison: Comparison, rule: Gate) -> Check:
    passed = _is_harmless(comparison.calibration.value, comparison.calibration.high, rule.max_log_loss_rise)
    statement = f"its log-loss is {-comparison.calibration.value:+.4f} from the champion's"
    return Check("calibration", passed, f"{statement}; a rise of at most {rule.max_log_loss_rise:g} is allowed")


def _check_slowdown(comparison: Comparison, rule: Gate) -> Check:
    passed = comparison.slowdown <= rule.max_slowdown
    return Check(
        "slowdown", passed, f"it takes {comparison.slowdown:.2f} times as long as the champion; at most {rule.max_slowdown:g} is allowed"
    )


def _is_harmless(gain: float, highest: float, margin: float) -> bool:
    """Whether a loss is within its margin or within chance; NaN is neither."""
    return gain >= -margin or highest >= 0


_ALONE: tuple[Callable[[Challenger, Gate], Check], ...] = (
    _check_parity,
    _check_confounding,
    _check_floor,
    _check_log_loss,
    _check_latency,
    _check_size,
)
_AGAINST_CHAMPION: tuple[Callable[[Comparison, Gate], Check], ...] = (
    _check_gain,
    _check_slices,
    _check_calibration,
    _check_slowdown,
)
