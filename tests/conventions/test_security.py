"""What docs/security.md says is tested, and nothing loads a file in a way that can run what the file says."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "security.md"
SOURCES = sorted(
    path for package in ("pipeline", "components", "serving", "infra", "benchmarks") for path in (ROOT / package).rglob("*.py")
)

#: Modules that make objects of bytes by running them, and who may import one: both with an unpickler of their own that knows no code.
PICKLES = {"pickle", "_pickle", "cloudpickle", "dill", "joblib", "shelve", "marshal", "skops", "jsonpickle"}
UNPICKLERS = {"components/fuse/layouts/cifar10.py", "components/train/torch_file.py"}

#: Calls that load something, by the end of their name -> what has to be said in them. None: not at all.
LOADERS: dict[str, dict[str, object] | None] = {
    "keras.saving.load_model": {"safe_mode": True},
    "keras.models.load_model": None,
    "enable_unsafe_deserialization": None,
    "torch.load": None,
    "pickle.load": None,
    "pickle.loads": None,
    "pandas.read_pickle": None,
    "pandas.read_hdf": None,
    "mlflow.sklearn.load_model": None,
    "mlflow.pyfunc.load_model": None,
    "yaml.unsafe_load": None,
    "yaml.full_load": None,
    "eval": None,
    "exec": None,
    "compile": None,
    "os.system": None,
}
#: What may be called even so. Models of the registry are code: here it is this run's own, just registered, and never in the gateway.
ALLOWED = {"components/register/packaging.py": ["mlflow.pyfunc.load_model"]}


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def find_meanings(tree: ast.AST) -> dict[str, str]:
    """What the names stand for that imports give."""
    meanings: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            meanings |= {alias.asname: alias.name for alias in node.names if alias.asname}
        elif isinstance(node, ast.ImportFrom):
            meanings |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    return meanings


def calls_of(tree: ast.AST) -> Iterator[tuple[str, dict[str, object]]]:
    """Full name and literal keywords of every call."""
    meanings = find_meanings(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            given: dict[str, object] = {
                word.arg: word.value.value for word in node.keywords if word.arg and isinstance(word.value, ast.Constant)
            }
            first, dot, rest = ast.unparse(node.func).partition(".")
            yield f"{meanings.get(first, first)}{dot}{rest}", given


def find_wrong(source: str) -> list[str]:
    """Calls that load what they should not, or do not say how."""
    wrong = []
    for name, given in calls_of(ast.parse(source)):
        for loader, wanted in LOADERS.items():
            is_meant = name == loader or ("." in loader and name.endswith(f".{loader}"))
            if is_meant and (wanted is None or not wanted.items() <= given.items()):
                wrong.append(name)
        if given.get("allow_pickle") or given.get("shell") or given.get("safe_mode") is False:
            wrong.append(name)
    return wrong


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_nothing_loads_what_could_run(path: Path) -> None:
    source = path.read_text()
    assert find_wrong(source) == ALLOWED.get(name_of(path), [])
    imported = {
        module.split(".")[0]
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for module in ([node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names])
    }
    assert not imported & PICKLES or name_of(path) in UNPICKLERS


@pytest.mark.parametrize(
    "source",
    [
        "np.load(path, allow_pickle=True)",
        "keras.saving.load_model(path)",
        "keras.saving.load_model(path, safe_mode=False)",
        "pickle.loads(data)",
        "subprocess.run(text, shell=True)",
        "mlflow.sklearn.load_model(uri)",
        "eval(text)",
        "from keras.saving import load_model; load_model(path)",
        "import mlflow.pyfunc as p; p.load_model(uri)",
        "import torch as t; t.load(path)",
        "from yaml import unsafe_load; unsafe_load(text)",
        "import pandas as pd; pd.read_pickle(path)",
    ],
)
def test_the_check_finds_what_it_is_for(source: str) -> None:
    assert find_wrong(source)


def test_every_claim_of_the_page_names_tests_that_exist() -> None:
    text = PAGE.read_text()
    table = text[text.index("| what is protected") :].split("\n\n")[0].splitlines()[2:]
    assert len(table) >= 20
    for row in table:
        named = re.findall(r"\[`(test_\w+)`\]\(\.\./(tests/[\w/]+\.py)\)", row)
        assert named, f"no test is named for: {row}"
        for test, file in named:
            assert f"def {test}(" in (ROOT / file).read_text(), f"{file} has no {test}"


def test_the_workflow_names_commits_and_may_only_read() -> None:
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yaml").read_text())
    assert workflow["permissions"] == {"contents": "read"}
    assert not [name for name, job in workflow["jobs"].items() if "permissions" in job]
    steps = [step for job in workflow["jobs"].values() for step in job["steps"] if "uses" in step]
    assert len(steps) >= 6
    for step in steps:
        assert re.fullmatch(r"actions/[\w-]+@[0-9a-f]{40}", step["uses"])
        assert not step["uses"].startswith("actions/checkout") or step["with"]["persist-credentials"] is False
