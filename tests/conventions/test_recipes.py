"""Every recipe loads, says what it claims, and the pipeline compiles to what Kubeflow accepts."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from kfp import compiler, components

from pipeline.catalog import find_recipe, list_recipes
from pipeline.training import define_training

FOLDER = Path(__file__).parents[2] / "pipeline" / "recipes"


@pytest.mark.parametrize("name", list_recipes())
def test_a_recipe_loads_and_explains_itself(name: str) -> None:
    recipe = find_recipe(name)
    assert recipe.name == name
    header = [line for line in (FOLDER / f"{name}.yaml").read_text().splitlines() if line.startswith("#")]
    assert any("Command:" in line for line in header)
    assert any("Hardware:" in line for line in header)
    # A figure with its n, or that nobody has run it.
    assert any("Expected:" in line for line in header)


@pytest.mark.parametrize("name", list_recipes())
def test_a_smoke_run_is_small_and_apart(name: str) -> None:
    recipe = find_recipe(name, smoke=True)
    assert len(recipe.candidates) <= 2
    assert recipe.model.endswith("-smoke")
    assert {candidate.epochs for candidate in recipe.candidates if candidate.mode != "frozen"} <= {1}


def test_the_pipeline_compiles_to_what_kubeflow_loads(tmp_path: Path) -> None:
    path = tmp_path / "pipeline.yaml"
    compiler.Compiler().compile(define_training(), str(path))
    loaded = components.load_component_from_file(str(path))
    assert set(loaded.component_spec.inputs) == {"recipe", "sources", "candidates"}
    # No task installs anything when it starts: the image is the environment.
    assert "pip install" not in path.read_text()


@pytest.mark.parametrize(("parallelism", "limits"), [(None, []), (3, [3])])
def test_the_parallelism_of_a_recipe_reaches_kubeflow(parallelism: int | None, limits: list[int], tmp_path: Path) -> None:
    path = tmp_path / "pipeline.yaml"
    compiler.Compiler().compile(define_training(parallelism), str(path))
    tasks = yaml.safe_load(path.read_text())["components"]["comp-exit-handler-1"]["dag"]["tasks"].values()
    assert [task["iteratorPolicy"]["parallelismLimit"] for task in tasks if "iteratorPolicy" in task] == limits
