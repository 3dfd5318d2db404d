from __future__ import annotations

import re
from pathlib import Path

import pytest

from components.common.errors import PawflowError
from components.common.recipe import Recipe, load_recipe, parse_recipe
from components.train.models import check_candidate
from components.train.network import build_network
from tests.conftest import RECIPE


def test_it_survives_the_journey_through_json(recipe: Recipe) -> None:
    assert load_recipe(recipe.model_dump_json()) == recipe


def test_overrides_reach_into_lists_and_keep_types() -> None:
    changed = parse_recipe(RECIPE, overrides=("candidates.0.epochs=7", "sources.root=/data", "gate.floor=0.5"))
    assert changed.candidates[0].epochs == 7
    assert changed.sources.root == Path("/data")
    assert changed.gate.floor == 0.5


def test_an_override_changes_one_entry_of_those_that_share_an_anchor() -> None:
    text = RECIPE[: RECIPE.index("candidates:")] + (
        "candidates:\n"
        "  - &base {name: one, architecture: simple_cnn, mode: scratch, options: {layer_size: 8}}\n"
        "  - {<<: *base, name: two}\n"
    )
    changed = parse_recipe(text, overrides=("candidates.0.options.layer_size=16",))
    assert [candidate.options["layer_size"] for candidate in changed.candidates] == [16, 8]


def test_the_candidates_of_a_recipe_that_names_none_can_be_set() -> None:
    text = "name: x\nsources: {archives: [{name: photos, provider: sample}]}"
    (default,) = parse_recipe(text).candidates
    assert parse_recipe(text, overrides=("candidates.0.int8=true",)).candidates == (default.model_copy(update={"int8": True}),)


def test_a_list_with_an_entry_that_is_wrong_is_not_called_empty() -> None:
    with pytest.raises(PawflowError) as refusal:
        parse_recipe("name: x\nsources: {archives: [{name: a, provider: sample}]}", overrides=("sources.archives.0.pth=x",))
    assert "did you mean 'path'" in str(refusal.value)
    assert "at least 1 item" not in str(refusal.value)
    with pytest.raises(PawflowError, match="archives: Tuple should have at least 1 item"):
        parse_recipe("name: x\nsources: {archives: []}")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("imagesize=64", r"imagesize: unknown field; did you mean 'image_size'\? Known ones: .*image_size"),
        ("sources.rooot=/x", r"sources.rooot: unknown field; did you mean 'root'\? Known ones: .*root"),
        ("candidates.0.epoch=3", r"candidates.0.epoch: unknown field; did you mean 'epochs'\? Known ones: .*epochs"),
        ("sed=3", r"did you mean 'seed'"),
        ("zebra=3", r"zebra: unknown field; known ones: .*seed"),
        ("select=acuracy", r"select: there is no 'acuracy'; did you mean 'accuracy'\? Known ones: .*log_loss"),
        ("image_size=big", r"image_size: .*integer.*'big'"),
        ("candidates.9.epochs=3", "names no entry of candidates: there are 3, 0 to 2"),
        ("name.first=x", "names no field"),
        ("gate.floor=2", "no model reaches the floor 2, since accuracy is never above 1"),
        ("gate={metric: log_loss, floor: -1}", "log_loss is never below 0"),
        ("epochs", "not of the form key=value"),
        ("split.test=0.9", "less than 0.5"),
        ("candidates.1.name=cnn", "candidate names must differ, but cnn"),
    ],
)
def test_a_wrong_override_says_what_is_known(override: str, message: str) -> None:
    with pytest.raises(PawflowError, match=re.compile(message, re.DOTALL)):
        parse_recipe(RECIPE, overrides=(override,))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [", "not valid YAML"),
        ("- 1", "holds a list"),
        ("name", "holds nothing but a text, expected fields such as"),
        ("# nothing yet", "holds nothing, expected fields"),
        ("name: x", "Field required"),
        ("name: x\nsources: &all {archives: [*all]}", "an anchor .* holds an alias .* of itself"),
        ("name: x\nsources: {root: a, root: b}", "the key 'root' occurs twice.*line 2, column 20"),
    ],
)
def test_text_that_is_no_recipe_is_refused(text: str, message: str) -> None:
    with pytest.raises(PawflowError, match=re.compile(message, re.DOTALL)):
        parse_recipe(text)


def test_a_name_that_yaml_takes_for_a_date_is_to_be_quoted() -> None:
    text = "name: x\nsources: {archives: [{name: photos, provider: sample, labels: {2024-01-01: cat}}]}"
    with pytest.raises(PawflowError, match="a name in it is not text .*put it in quotes"):
        parse_recipe(text)


def test_a_smoke_run_suits_every_architecture_and_makes_nothing_larger() -> None:
    text = (
        "name: x\nsources: {limit: 100, archives: [{name: photos, provider: sample}]}\n"
        "candidates: [{name: one, architecture: inception_v3_mixed7, mode: frozen}]"
    )
    small = parse_recipe(text, smoke=True)
    assert small.sources.limit == 100
    check_candidate(small.candidates[0], small.image_size)
    assert load_recipe(small.model_dump_json()) == small


def test_networks_that_fit_side_by_side_do_so_in_a_smoke_run() -> None:
    text = (
        "name: x\nsources: {archives: [{name: photos, provider: sample}]}\n"
        "candidates: [{name: two, architecture: concatenation, mode: scratch, options: {of: [efficientnet_lite0, vgg16]}}]"
    )
    small = parse_recipe(text, smoke=True)
    check_candidate(small.candidates[0], small.image_size)
    assert build_network(small.candidates[0], small.image_size, 2).input_shape == (None, 80, 80, 3)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("decisions=@x", "the value of override 'decisions=@x' is not valid YAML"),
        ("name=2024-02-30", "is not valid YAML: day is out of range for month"),
    ],
)
def test_a_value_that_is_no_yaml_is_told_from_a_field_that_is_none(override: str, message: str) -> None:
    with pytest.raises(PawflowError, match=message):
        parse_recipe(RECIPE, overrides=(override,))


def test_a_home_folder_is_written_short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ada")
    recipe = parse_recipe(RECIPE, overrides=("sources.root=~/photos", "decisions=~/decisions.yaml"))
    assert (recipe.sources.root, recipe.decisions) == (Path("/home/ada/photos"), Path("/home/ada/decisions.yaml"))
    with pytest.raises(PawflowError, match=r"sources.root: .*write the path out"):
        parse_recipe(RECIPE, overrides=("sources.root=~nobody-of-this-name/photos",))


def test_yes_and_no_are_words() -> None:
    labels = parse_recipe(RECIPE, overrides=("sources.archives.0.labels={yes: tumour, no: healthy}",)).sources.archives[0].labels
    assert labels == {"yes": "tumour", "no": "healthy"}


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(PawflowError, match="there is no recipe file"):
        load_recipe(str(tmp_path / "none.yaml"))


def test_a_file_that_is_not_utf_8_is_named(tmp_path: Path) -> None:
    (tmp_path / "old.yaml").write_bytes("# Katze, Hündin\nname: x".encode("latin-1"))
    with pytest.raises(PawflowError, match=r"old\.yaml is not UTF-8 text \(byte 10 .*save it as UTF-8"):
        load_recipe(str(tmp_path / "old.yaml"))


def test_a_floor_of_a_loss_may_be_above_one() -> None:
    assert parse_recipe(RECIPE, overrides=("gate={metric: log_loss, floor: 1.5}",)).gate.floor == 1.5


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
    with pytest.raises(PawflowError, match="(?i)known ones: .*endpoint|sha256: String should match"):
        parse_recipe(text, overrides=(override,))


def test_yaml_numbers_with_an_exponent_are_numbers_and_true_is_none() -> None:
    assert parse_recipe(RECIPE, overrides=("gate.min_gain=1e-3",)).gate.min_gain == 1e-3
    with pytest.raises(PawflowError, match="seed: Input should be a valid integer"):
        parse_recipe(RECIPE, overrides=("seed=true",))
