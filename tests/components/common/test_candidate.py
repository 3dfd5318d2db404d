import pytest

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


def test_a_grid_of_an_unknown_field_names_the_field() -> None:
    with pytest.raises(PawflowError, match=r"candidates\.0\.learning_rat: unknown field"):
        parse_recipe(RECIPE.replace("learning_rate", "learning_rat"))
