from __future__ import annotations

import re
from pathlib import Path

import pytest

from components.common.errors import PawflowError
from components.common.recipe import Recipe, load_recipe, parse_recipe
from tests.conftest import RECIPE


def test_it_survives_the_journey_through_json(recipe: Recipe) -> None:
    assert load_recipe(recipe.model_dump_json()) == recipe


def test_overrides_reach_into_lists_and_keep_types() -> None:
    changed = parse_recipe(RECIPE, overrides=("candidates.0.epochs=7", "sources.root=/data", "gate.floor=0.5"))
    assert changed.candidates[0].epochs == 7
    assert changed.sources.root == Path("/data")
    assert changed.gate.floor == 0.5


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("imagesize=64", r"imagesize: unknown field; known ones: .*image_size"),
        ("sources.rooot=/x", r"sources.rooot: unknown field; known ones: .*root"),
        ("candidates.0.epoch=3", r"candidates.0.epoch: unknown field; known ones: .*epochs"),
        ("image_size=big", r"image_size: .*integer.*'big'"),
        ("candidates.9.epochs=3", "names no field"),
        ("epochs", "not of the form key=value"),
        ("split.test=0.9", "less than 0.5"),
        ("candidates.1.name=cnn", "candidate names must differ, but cnn"),
    ],
)
def test_a_wrong_override_says_what_is_known(override: str, message: str) -> None:
    with pytest.raises(PawflowError, match=re.compile(message, re.DOTALL)):
        parse_recipe(RECIPE, overrides=(override,))


@pytest.mark.parametrize(("text", "message"), [("a: [", "not valid YAML"), ("- 1", "holds a list"), ("name: x", "Field required")])
def test_text_that_is_no_recipe_is_refused(text: str, message: str) -> None:
    with pytest.raises(PawflowError, match=message):
        parse_recipe(text)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(PawflowError, match="there is no recipe file"):
        load_recipe(str(tmp_path / "none.yaml"))


def test_five_lines_are_a_recipe() -> None:
    short = parse_recipe("name: my_pets\nsources:\n  archives:\n    - {name: photos, provider: folder, path: photos}")
    assert short.model == "my-pets"
    assert short.sources.archives[0].layout == "class_folders"
    assert [candidate.mode for candidate in short.candidates] == ["frozen"]
    assert short.gate.floor == 0.5
    assert load_recipe(short.model_dump_json()) == short


@pytest.mark.parametrize("override", ["sources.archives.0.fallbacks.0.adress=x", "sources.archives.0.sha256=abc"])
def test_a_place_with_a_mistake_is_refused(override: str) -> None:
    text = "name: x\nsources: {archives: [{name: dogs-vs-cats, provider: kaggle, fallbacks: [{provider: s3}]}]}"
    with pytest.raises(PawflowError, match="known ones: .*endpoint|sha256: String should match"):
        parse_recipe(text, overrides=(override,))


def test_yaml_numbers_with_an_exponent_are_numbers_and_true_is_none() -> None:
    assert parse_recipe(RECIPE, overrides=("gate.min_gain=1e-3",)).gate.min_gain == 1e-3
    with pytest.raises(PawflowError, match="seed: Input should be a valid integer"):
        parse_recipe(RECIPE, overrides=("seed=true",))
