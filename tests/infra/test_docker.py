"""What can be said of the images without building one."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from kfp import compiler

from components.common.kubeflow import IMAGES
from components.common.recipe import Recipe
from pipeline.containers import shared_paths
from pipeline.profile import Profile, read_profile
from pipeline.training import define_training

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "infra" / "docker" / "Dockerfile").read_text()
TARGETS = ("data", "train", "train-gpu", "serve", "tracking", "test")


@pytest.mark.parametrize("target", TARGETS)
def test_a_target_installs_its_lock_and_runs_as_nobody_special(target: str) -> None:
    stages = {block.split("\n", 1)[0].rpartition(" AS ")[2]: block for block in re.split(r"\n(?=FROM )", DOCKERFILE)[1:]}
    lock = "requirements" if target == "test" else target
    environment = stages[f"{target}-environment"]
    assert f"--require-hashes -r /build/{lock}.lock" in environment
    assert re.search(r"^USER 10001:10001$", stages[target], re.M)
    # Code comes after the dependencies, so that a change of code leaves their layer as it is.
    copies = re.findall(r"^COPY (?:--from=(\S+))?", stages[target], re.M)
    assert copies[0] == f"{target}-environment"
    assert "COPY" in stages[target].split(copies[0])[1]


def test_the_names_of_the_images_are_those_that_are_built() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert {name: f"pawflow/python-{name}:{version}" for name in ("train", "data")} == IMAGES
    assert f"VERSION := {version}\n" in (ROOT / "Makefile").read_text()


@pytest.mark.parametrize("profile", [Profile(), read_profile(ROOT / "infra" / "kubeflow" / "profile.yaml")], ids=["none", "shipped"])
def test_steps_without_tensorflow_have_the_small_image(profile: Profile, tmp_path: Path) -> None:
    compiler.Compiler().compile(define_training(profile=profile), str(tmp_path / "pipeline.yaml"))
    text = (tmp_path / "pipeline.yaml").read_text()
    images = dict(re.findall(r"exec-([a-z]+):\n      container:.*?image: (\S+)", text, re.S))
    small = {step for step, image in images.items() if image == IMAGES["data"]}
    assert small == {"download", "fuse", "augment", "finish"}
    assert set(images) - small == {"start", "train", "evaluate", "register", "promote"}
    assert {images[step] for step in set(images) - small} == {IMAGES["train"]}


def test_containers_see_what_the_recipe_and_the_settings_name(
    recipe: Recipe, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    archives, weights, store, cache = (tmp_path_factory.mktemp(name) for name in ("archives", "weights", "store", "cache"))
    (tmp_path / "inside").mkdir()
    monkeypatch.setenv("PAWFLOW_WEIGHTS", str(weights))
    monkeypatch.setenv("PAWFLOW_CHECKPOINTS", "s3://bucket/prefix")
    monkeypatch.setenv("PAWFLOW_HOME", str(cache))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{store}/mlflow.db")
    named = recipe.model_copy(update={"sources": recipe.sources.model_copy(update={"root": archives, "previous": Path("inside")})})
    assert shared_paths(named) == {tmp_path: True, cache: True, store: True, archives: False, weights: False}
