from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.special import softmax

from components.evaluate.answers import undo_temperature
from components.evaluate.judgement import judge_doubt, judge_suspects, trace_risk
from serving.predictor import ModelCard

CARD = ModelCard(("cat", "dog"), 32, "digest", 0.7, generated=False, unfamiliar_below=1.5, temperature=2.5)


def test_the_risk_is_that_of_the_surest_answers() -> None:
    right, confidence = np.array([True, False, True, True]), np.array([0.9, 0.6, 0.99, 0.7])
    np.testing.assert_allclose(trace_risk(right, confidence), [0, 0, 0, 0.25])
    np.testing.assert_allclose(trace_risk(~right, confidence), [1, 1, 1, 0.75])


def test_not_sure_is_told_with_what_it_costs_and_saves() -> None:
    right = np.arange(100) >= 10
    doubt = judge_doubt(right, np.linspace(0.5, 1, 100), np.arange(100) < 8, CARD)
    assert (doubt["n"], doubt["num_not_sure"], doubt["num_errors"], doubt["num_errors_not_sure"]) == (100, 8, 10, 8)
    assert doubt["accuracy_when_sure"] == pytest.approx(90 / 92)
    assert doubt["selective_accuracy"]["1"] == pytest.approx(0.9)
    assert doubt["selective_accuracy"]["0.9"] == 1.0
    assert doubt["below"] == {"probability": 0.7, "peak": 1.5}


def test_the_temperature_can_be_undone() -> None:
    logits = np.random.default_rng(0).normal(0, 4, (50, 3))
    np.testing.assert_allclose(undo_temperature(softmax(logits / 2.5, axis=1), CARD), softmax(logits, axis=1), rtol=1e-6)


def test_errors_on_doubtful_labels_are_counted_apart() -> None:
    ids = pd.Series(["a", "b", "c", "d"])
    counts = judge_suspects(np.array([False, False, True, False]), ids, {"a": 1, "b": 4, "c": 5, "elsewhere": 5})
    assert counts == {"n": 4, "present": 3, "errors": 3, "errors_on_suspects": 2, "errors_on_convincing_suspects": 1}
