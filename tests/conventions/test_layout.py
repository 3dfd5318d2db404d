"""The rules of docs/architecture.md that a machine can check: where things are, and who may import whom."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from components.download.sources import PROVIDERS
from components.train.models import ARCHITECTURES

ROOT = Path(__file__).parents[2]
STEPS = ("start", "download", "fuse", "augment", "train", "evaluate", "register", "promote", "finish")
MLFLOW_USERS = {
    "components/common/database.py",
    "components/common/tracking.py",
    "components/common/registry.py",
    "components/register/packaging.py",
    "serving/model.py",
    "pipeline/curves.py",
    "serving/gateway/sources.py",
    "infra/reload/receiver.py",
}
SOURCES = sorted(path for package in ("pipeline", "components", "serving") for path in (ROOT / package).rglob("*.py"))


def imports_of(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("step", STEPS)
def test_a_step_has_its_five_files(step: str) -> None:
    files = {path.name for path in (ROOT / "components" / step).iterdir()}
    assert {f"{step}.py", "run.py", "__main__.py", "component.py", "README.md"} <= files
    assert len((ROOT / "components" / step / "__main__.py").read_text().split("\n\n")[-1].strip().splitlines()) == 1


def test_there_are_no_other_steps() -> None:
    folders = {path.name for path in (ROOT / "components").iterdir() if path.is_dir() and not path.name.startswith("_")}
    assert folders == {*STEPS, "common"}


@pytest.mark.parametrize("path", [*SOURCES, *sorted((ROOT / "infra").rglob("*.py"))], ids=name_of)
def test_imports_follow_the_rules(path: Path) -> None:
    name, imported = name_of(path), set(imports_of(path))
    steps = {module.split(".")[1] for module in imported if module.startswith("components.") and module.split(".")[1] in STEPS}
    own = path.relative_to(ROOT).parts[1] if name.startswith("components/") else None
    if name.startswith("components/"):
        assert steps <= {own}, "a step imports no other step, and common none at all"
        assert not any(module.startswith("pipeline") for module in imported)
    if name.startswith("serving/"):
        assert not any(module.split(".")[0] in ("components", "pipeline", "tensorflow", "keras", "kfp") for module in imported)
    if name.startswith("infra/"):
        assert not steps
        assert not any(module.split(".")[0] in ("pipeline", "serving") for module in imported)
    if name.startswith("components/") and path.name == f"{own}.py":
        assert not any(module.split(".")[0] in ("kfp", "mlflow", "argparse", "typer") for module in imported)
    if any(module.split(".")[0] == "mlflow" for module in imported):
        assert name in MLFLOW_USERS


@pytest.mark.parametrize("path", sorted(ROOT.glob("components/*/component.py")), ids=name_of)
def test_components_are_thin(path: Path) -> None:
    (function,) = [node for node in ast.parse(path.read_text()).body if isinstance(node, ast.FunctionDef)]
    assert len(function.body) <= 10


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_files_can_be_read_in_one_sitting(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 330


@pytest.mark.parametrize("path", [path for path in SOURCES if path.name not in ("__init__.py", "__main__.py")], ids=name_of)
def test_every_module_says_what_it_is_for(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text()))


def test_every_architecture_and_provider_has_its_file() -> None:
    models = {path.stem for path in (ROOT / "components/train/models").glob("*.py")} - {"__init__", "options"}
    assert models == {architecture.module for architecture in ARCHITECTURES.values()}
    sources = {path.stem for path in (ROOT / "components/download/sources").glob("*.py")}
    assert set(PROVIDERS) <= sources


def test_nothing_speaks_of_one_machine() -> None:
    for path in [*SOURCES, *ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), ROOT / "Makefile", ROOT / ".ci" / "run"]:
        text = path.read_text()
        assert not any(f"/{word}/" in text for word in ("root", "work", "home")), name_of(path)
