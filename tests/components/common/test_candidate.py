import re

import pytest

from components.common.candidate import Candidate, modes_of
from components.common.errors import PawflowError
from components.common.recipe import parse_recipe

RECIPE = """
name: grid
sources: {archives: [{name: photos, provider: sample}]}
candidates:
  - name: cnn
    architecture: simple_cnn
    mode: scratch
    grid: {learning_rate: [0.1, 1e-4], options.activation: [relu, leaky_relu], epochs: [3]}
  - {name: other, architecture: simple_cnn, mode: scratch}
"""


def test_a_grid_becomes_one_candidate_for_each_combination() -> None:
    candidates = {candidate.name: candidate for candidate in parse_recipe(RECIPE).candidates}
    assert list(candidates) == ["cnn-0.1-relu-3", "cnn-0.1-leaky_relu-3", "cnn-0.0001-relu-3", "cnn-0.0001-leaky_relu-3", "other"]
    chosen = candidates["cnn-0.0001-leaky_relu-3"]
    assert (chosen.learning_rate, chosen.options, chosen.epochs) == (1e-4, {"activation": "leaky_relu"}, 3)


@pytest.mark.parametrize("grid", ["{}", "[1]", "{learning_rate: 0.1}", "{learning_rate: []}"])
def test_a_grid_that_is_no_mapping_of_lists_is_an_error(grid: str) -> None:
    text = RECIPE.replace("{learning_rate: [0.1, 1e-4], options.activation: [relu, leaky_relu], epochs: [3]}", grid)
    with pytest.raises(PawflowError, match="expected a list of values for each field"):
        parse_recipe(text)


def test_numbers_of_a_grid_keep_their_sign_in_the_names() -> None:
    grid = "grid: {options.bias_initializer: [-0.01, 0.01]}"
    candidates = parse_recipe(re.sub("grid: {.*}", grid, RECIPE)).candidates
    assert [candidate.name for candidate in candidates] == ["cnn--0.01", "cnn-0.01", "other"]


def test_a_grid_without_a_name_to_begin_with_is_an_error() -> None:
    with pytest.raises(PawflowError, match=r"a candidate with the grid {.*} has no name; add one"):
        parse_recipe(RECIPE.replace("name: cnn\n    ", ""))


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        ("{mode.x: [1]}", r"grid names 'mode\.x', but mode has no fields"),
        ("{mode.x.y: [1]}", r"grid names 'mode\.x\.y', but mode\.x has no fields"),
        ("{1: [2]}", r"candidates\.0\.1: unknown field"),
    ],
)
def test_a_grid_through_what_has_no_fields_is_an_error(grid: str, message: str) -> None:
    text = RECIPE.replace("{learning_rate: [0.1, 1e-4], options.activation: [relu, leaky_relu], epochs: [3]}", grid)
    with pytest.raises(PawflowError, match=message):
        parse_recipe(text)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ("mode: frozen, learning_rate: 0.1", "learning_rate is 0.1, but does nothing in mode frozen; .*set mode: scratch or fine_tune"),
        ("mode: frozen, backend: torch", "backend is torch, but does nothing in mode frozen"),
        ("mode: scratch, unfreeze: block5", "unfreeze is block5, but does nothing in mode scratch; .*set mode: fine_tune"),
        ("mode: fine_tune, classifier: ridge", "classifier is ridge, but does nothing in mode fine_tune; .*set mode: frozen"),
        ("mode: scratch, stop_at: {value: 95}", "no network reaches the val_accuracy 95; it is a share, such as 0.95"),
    ],
)
def test_a_field_that_would_do_nothing_is_an_error(fields: str, message: str) -> None:
    with pytest.raises(PawflowError, match=message):
        parse_recipe(RECIPE + f"  - {{name: vain, architecture: vgg16, {fields}}}")


def test_what_each_mode_has_no_use_for() -> None:
    useless = {mode: {name for name in Candidate.model_fields if mode not in modes_of(name)} for mode in ("frozen", "fine_tune", "scratch")}
    assert useless["fine_tune"] == {"classifier"}
    assert useless["scratch"] == {"classifier", "head_epochs", "unfreeze", "fine_tune_rate"}
    # Every field of gradient training: how many there are, and some by name, so that a new or renamed one is noticed here.
    assert len(useless["frozen"]) == 18
    assert useless["frozen"] >= {"backend", "epochs", "batch_size", "dropout", "optimizer", "learning_rate", "stop_at", "patience"}


def test_a_grid_of_an_unknown_field_names_the_field() -> None:
    with pytest.raises(PawflowError, match=r"candidates\.0\.learning_rat: unknown field"):
        parse_recipe(RECIPE.replace("learning_rate", "learning_rat"))
