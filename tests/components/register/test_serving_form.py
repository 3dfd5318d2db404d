from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from components.common.confounding import find_clean
from components.common.dataset import Dataset
from components.common.files import PREDICTIONS_FILE
from components.common.recipe import Recipe
from components.register.answers import Answers, read_predictions
from components.register.serving_form import choose_form
from tests.components.register.conftest import Evaluated, add_int8, evaluate_model


def read_answers(evaluated: Evaluated, dataset: Dataset) -> dict[str, Answers]:
    path = evaluated.evaluation / PREDICTIONS_FILE
    return {split: read_predictions(path, split, dataset, find_clean(dataset, split))["cnn"] for split in ("validation", "test")}


@pytest.mark.parametrize(
    ("bias", "gate", "form", "reason"),
    [
        (2.5, {"margin": 0.2}, "int8", "int8 serves: it gives the same label on 100.00 % of 28 validation images"),
        (-2.0, {"margin": 1.0}, "float32", "int8 is withheld: fewer than 99.5 % of the labels agree"),
        (2.5, {"margin": 0.01}, "float32", "int8 is withheld: a loss of 0.01 cannot be ruled out"),
    ],
)
def test_int8_serves_only_where_it_is_shown_to_be_as_good(
    bias: float, gate: dict[str, Any], form: str, reason: str, dataset: Dataset, one_candidate: Recipe, tmp_path: Path
) -> None:
    evaluated = evaluate_model(tmp_path / "run", dataset, 2.0)
    answers = read_answers(evaluated, dataset)
    alone = choose_form(evaluated.candidate, answers, dataset, one_candidate)
    assert (alone.form, alone.same_labels) == ("float32", None)

    add_int8(evaluated.candidate, dataset, bias)
    rule = one_candidate.gate.model_copy(update=gate)
    chosen = choose_form(evaluated.candidate, answers, dataset, one_candidate.model_copy(update={"gate": rule}))
    assert chosen.form == form
    assert chosen.reason.startswith(reason)
    is_other = abs(chosen.answers.probabilities - answers["test"].probabilities).max() > 1e-3
    assert is_other == (form == "int8")


def test_int8_that_is_not_faster_is_withheld(dataset: Dataset, one_candidate: Recipe, tmp_path: Path) -> None:
    evaluated = evaluate_model(tmp_path / "run", dataset, 2.0)
    answers = read_answers(evaluated, dataset)
    add_int8(evaluated.candidate, dataset, 2.5)
    slow, fast = evaluated.candidate / "model.onnx", evaluated.candidate / "model.int8.onnx"
    content = slow.read_bytes(), fast.read_bytes()
    slow.write_bytes(content[1])
    fast.write_bytes(content[0])
    rule = one_candidate.gate.model_copy(update={"margin": 0.2})
    chosen = choose_form(evaluated.candidate, answers, dataset, one_candidate.model_copy(update={"gate": rule}))
    assert chosen.form == "float32"
    assert "it is not faster" in chosen.reason
