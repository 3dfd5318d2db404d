from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from components.common.recipe import Gate, load_recipe, parse_recipe
from components.register.answers import Answers, compare
from components.register.gate import Challenger, Comparison, Confounding, Gap, Slice, decide
from components.register.statistics import Difference
from tests.conftest import RECIPE

RULE = Gate(metric="accuracy", floor=0.8, min_images=50)
CLEAN = Confounding("none", "the files do not tell the class", num_images=200, num_clean=200, gap=None)
GOOD = Challenger(
    estimate={"value": 0.95, "low": 0.9, "high": 0.98, "n": 200},
    log_loss=0.2,
    guessing=0.69,
    latency_ms=8.0,
    megabytes=14.0,
    parity=1e-6,
    confounding=CLEAN,
)
BETTER = Comparison(
    num_images=200,
    num_left_out=0,
    challenger=0.95,
    champion=0.9,
    gain=Difference(0.05, 0.01, 0.09),
    calibration=Difference(0.02, 0.0, 0.04),
    only_challenger_right=14,
    only_champion_right=4,
)
EQUAL = replace(BETTER, champion=0.95, gain=Difference(0.0, -0.009, 0.009), only_challenger_right=0, only_champion_right=0)
NAN = Difference(math.nan, math.nan, math.nan)


def measured(**changes: float) -> Challenger:
    return replace(GOOD, estimate=GOOD.estimate | changes)


def confounded(num_clean: int, gap: Difference | None = None) -> Challenger:
    found = Confounding("severe", "", num_images=200, num_clean=num_clean, gap=Gap("dog", gap) if gap else None)
    return replace(GOOD, confounding=found)


@pytest.mark.parametrize(
    ("challenger", "comparison", "promote", "reason"),
    [
        # The first champion has to be good by itself.
        (GOOD, None, True, "no champion yet"),
        (measured(low=0.79), None, False, "refused: accuracy 0.9500 .* does not clear the floor"),
        (measured(low=0.8), None, True, "clears the floor"),
        (measured(value=math.nan), None, False, "not a number"),
        (measured(low=math.nan), None, False, "not a number"),
        (replace(GOOD, log_loss=0.7), None, False, "log-loss of 0.7000 is not below the 0.6900 of always answering"),
        (replace(GOOD, log_loss=math.nan), None, False, "log-loss of nan"),
        (replace(GOOD, latency_ms=251), None, False, "takes 251.0 ms"),
        (replace(GOOD, latency_ms=math.nan), None, False, "takes nan ms"),
        (replace(GOOD, megabytes=501), None, False, "501.0 MB"),
        (replace(GOOD, parity=2e-4), None, False, "differ by 0.0002"),
        (replace(GOOD, parity=math.nan), None, False, "differ by nan"),
        # The source of a photo must not carry the model.
        (confounded(49), None, False, "only 49 of 200 test images do not give their class away"),
        (confounded(0), None, False, "only 0 of 200 .* gate.confounding=report"),
        (confounded(50), None, True, "promoted"),
        (confounded(100, Difference(0.15, 0.06, 0.24)), None, False, "of dog, 15.0 points more .* the source carries the model"),
        (confounded(100, Difference(0.15, -0.01, 0.31)), None, True, "promoted"),
        (confounded(100, Difference(0.04, 0.02, 0.06)), None, True, "promoted"),
        (confounded(100, NAN), None, False, "the source carries the model"),
        # Against a champion.
        (GOOD, BETTER, True, "promoted: accuracy 0.9500 against the champion's 0.9000 on the same 200 images"),
        (GOOD, EQUAL, False, "kept the champion: .* more than 0 to the better is needed"),
        (GOOD, replace(BETTER, gain=Difference(-0.05, -0.09, -0.01)), False, "kept the champion"),
        (GOOD, replace(BETTER, gain=Difference(0.05, -0.01, 0.1)), False, "kept the champion: .* chance alone"),
        (GOOD, replace(BETTER, only_challenger_right=5, only_champion_right=3), False, "kept the champion: .* chance alone"),
        (GOOD, replace(BETTER, gain=NAN), False, "kept the champion"),
        (GOOD, replace(BETTER, num_images=49, num_left_out=151), False, r"refused: only 49 test .* \(151 are left out: it was trained on"),
        (measured(low=0.7), BETTER, False, "does not clear the floor"),
        (GOOD, replace(BETTER, slowdown=4.1), False, "takes 4.10 times as long"),
        (GOOD, replace(BETTER, slowdown=math.nan), False, "takes nan times"),
        (GOOD, replace(BETTER, calibration=Difference(-0.2, -0.3, -0.1)), False, "log-loss is .0.2000 from the champion's"),
        (GOOD, replace(BETTER, calibration=Difference(-0.2, -0.5, 0.1)), True, "promoted"),
        (GOOD, replace(BETTER, calibration=NAN), False, "log-loss is .nan"),
        (GOOD, replace(BETTER, slices=(Slice("source a", 100, 0, 10),)), False, "worse than the champion on source a by 10.0 points"),
        (GOOD, replace(BETTER, slices=(Slice("source a", 100, 4, 5),)), True, "promoted"),
        (GOOD, replace(BETTER, slices=(Slice("source a", 1000, 0, 10),)), True, "promoted"),
    ],
)
def test_truth_table(challenger: Challenger, comparison: Comparison | None, promote: bool, reason: str) -> None:
    decision = decide(challenger, comparison, RULE)
    assert decision.promote is promote
    with pytest.raises(AssertionError, match=reason):
        raise AssertionError(decision.verdict)
    assert all(check.passed for check in decision.checks) is promote


@pytest.mark.parametrize(
    ("rule", "challenger", "comparison", "promote"),
    [
        ({"min_gain": 0.06}, GOOD, BETTER, False),
        ({"require": "not_worse"}, GOOD, EQUAL, True),
        ({"require": "not_worse"}, GOOD, replace(EQUAL, gain=Difference(0.0, -0.02, 0.02)), False),
        ({"require": "not_worse", "margin": 0.03}, GOOD, replace(EQUAL, gain=Difference(0.0, -0.02, 0.02)), True),
        ({"require": "not_worse"}, GOOD, replace(EQUAL, gain=NAN), False),
        ({"confounding": "report"}, confounded(0), None, True),
        ({"max_log_loss": 0.1}, GOOD, None, False),
        ({"max_latency_ms": 5.0}, GOOD, None, False),
        ({"max_megabytes": 5.0}, GOOD, None, False),
        ({"max_slowdown": 1.5}, GOOD, replace(BETTER, slowdown=2.0), False),
        ({"max_gap": 0.2}, confounded(100, Difference(0.15, 0.06, 0.24)), None, True),
        ({"max_log_loss_rise": 0.3}, GOOD, replace(BETTER, calibration=Difference(-0.2, -0.3, -0.1)), True),
        ({"slice_margin": 0.15}, GOOD, replace(BETTER, slices=(Slice("source a", 100, 0, 10),)), True),
    ],
)
def test_the_recipe_sets_the_rule(rule: dict[str, Any], challenger: Challenger, comparison: Comparison | None, promote: bool) -> None:
    assert decide(challenger, comparison, RULE.model_copy(update=rule)).promote is promote


def test_less_loss_is_better() -> None:
    rule = Gate(metric="log_loss", floor=0.3)
    assert decide(measured(value=0.1, low=0.05, high=0.2), BETTER, rule).promote
    assert not decide(measured(value=0.1, low=0.05, high=0.4), None, rule).promote
    # McNemar's test speaks of accuracy alone.
    assert decide(measured(value=0.1, low=0.05, high=0.2), replace(BETTER, only_champion_right=14), rule).promote


@pytest.mark.parametrize(("fewest", "compared"), [(30, ["source a", "source b"]), (50, ["source b"])])
def test_slices_of_fewer_images_than_the_recipe_wants_are_not_compared(fewest: int, compared: list[str]) -> None:
    places = np.arange(100)
    rows = pd.DataFrame({"label": "cat", "group": places.astype(str), "source": np.where(places < 40, "a", "b")})
    answers = Answers(("cat", "dog"), rows, np.tile([0.8, 0.2], (100, 1)))
    assert [part.name for part in compare(answers, answers, Gate(slice_images=fewest), 0).slices] == compared


def test_many_slices_are_asked_at_once() -> None:
    """A slice that alone would be a regression is none among twenty: chance makes one of them look so."""
    suspect = Slice("breed 0", 50, 0, 5)
    others = tuple(Slice(f"breed {number}", 50, 2, 2) for number in range(1, 20))
    assert not decide(GOOD, replace(BETTER, slices=(suspect,)), RULE).promote
    assert decide(GOOD, replace(BETTER, slices=(suspect, *others)), RULE).promote


def test_every_failing_question_is_named() -> None:
    decision = decide(replace(GOOD, parity=1.0, megabytes=1e4), replace(BETTER, slowdown=9), RULE)
    assert [check.name for check in decision.checks if not check.passed] == ["parity", "size", "slowdown"]
    for said in ("differ by 1 in probability", "10000.0 MB", "9.00 times as long"):
        assert said in decision.verdict


@pytest.mark.parametrize(("challenger", "comparison"), [(GOOD, None), (GOOD, EQUAL), (replace(GOOD, megabytes=1e4), BETTER)])
def test_a_verdict_by_a_loosened_gate_says_so(challenger: Challenger, comparison: Comparison | None) -> None:
    said = "; the gate was loosened by --smoke"
    smoke = parse_recipe(RECIPE, smoke=True).gate
    assert decide(challenger, comparison, smoke).verdict.endswith(said)
    assert said not in decide(challenger, comparison, RULE).verdict


@pytest.mark.parametrize("metric", ["accuracy", "log_loss", "brier", "calibration_error"])
def test_whatever_the_metric_a_first_model_of_a_smoke_run_passes(metric: str) -> None:
    smoke = parse_recipe(RECIPE, overrides=(f"gate={{metric: {metric}, floor: 0.9}}",), smoke=True)
    poor = measured(value=0.01, low=0.0, high=36.0)
    assert decide(poor, None, load_recipe(smoke.model_dump_json()).gate).promote


def test_a_promotion_in_spite_of_confounding_says_so() -> None:
    said = "; confounding is severe and was only reported"
    lenient = RULE.model_copy(update={"confounding": "report"})
    decision = decide(confounded(0), None, lenient)
    assert decision.promote
    assert decision.verdict.endswith(said)
    assert said not in decide(GOOD, None, lenient).verdict
