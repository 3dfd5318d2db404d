from __future__ import annotations

import math

import pytest
from scipy.stats import binomtest

from components.common.recipe import Gate
from components.register.gate import Comparison, decide

GATE = Gate(metric="accuracy", floor=0.8, min_gain=0.0, min_images=50)
GOOD = {"value": 0.95, "low": 0.9, "high": 0.98, "n": 200}


def compared(challenger: float, champion: float, num_images: int = 200) -> Comparison:
    return Comparison(num_images, challenger, champion, only_challenger_right=6, only_champion_right=2)


@pytest.mark.parametrize(
    ("challenger", "comparison", "promote", "reason"),
    [
        (GOOD, None, True, "no champion yet"),
        (GOOD | {"low": 0.79}, None, False, "does not clear the floor"),
        (GOOD | {"low": 0.8}, None, True, "clears the floor"),
        (GOOD | {"value": math.nan}, None, False, "not a number"),
        (GOOD | {"low": math.nan}, None, False, "not a number"),
        (GOOD, compared(0.95, 0.94), True, "promoted"),
        (GOOD, compared(0.95, 0.95), False, "kept the champion"),
        (GOOD, compared(0.94, 0.95), False, "kept the champion"),
        (GOOD, compared(math.nan, 0.95), False, "kept the champion"),
        (GOOD, compared(0.95, math.nan), False, "kept the champion"),
        (GOOD, compared(0.99, 0.5, num_images=49), False, "only 49 test images are new"),
        (GOOD | {"low": 0.7}, compared(0.95, 0.1), False, "does not clear the floor"),
    ],
)
def test_truth_table(challenger: dict[str, float], comparison: Comparison | None, promote: bool, reason: str) -> None:
    decision = decide(challenger, comparison, GATE)
    assert decision.promote is promote
    assert reason in decision.reason


def test_a_gain_must_exceed_the_least_gain() -> None:
    gate = GATE.model_copy(update={"min_gain": 0.02})
    assert not decide(GOOD, compared(0.95, 0.94), gate).promote
    assert decide(GOOD, compared(0.97, 0.94), gate).promote


def test_less_loss_is_better() -> None:
    gate = Gate(metric="log_loss", floor=0.3)
    low_loss = {"value": 0.1, "low": 0.05, "high": 0.2, "n": 200}
    assert decide(low_loss, compared(0.1, 0.2), gate).promote
    assert not decide(low_loss, compared(0.2, 0.1), gate).promote
    assert not decide(low_loss | {"high": 0.4}, None, gate).promote


def test_the_p_value_is_mcnemars_exact_one() -> None:
    assert compared(0.95, 0.94).p_value == pytest.approx(binomtest(6, 8).pvalue)
    assert Comparison(10, 1.0, 1.0, 0, 0).p_value == 1.0
