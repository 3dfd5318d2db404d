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
    "pd.read_pickle": None,
    "pd.read_hdf": None,
    "sklearn.load_model": None,
    "yaml.unsafe_load": None,
    "yaml.full_load": None,
    "eval": None,
    "exec": None,
    "compile": None,
    "os.system": None,
}
#: Loads models of the registry, which are code: its own, just registered, and never in the gateway.
RUNS_REGISTERED_CODE = {"components/register/packaging.py"}


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def calls_of(tree: ast.AST) -> Iterator[tuple[str, dict[str, object]]]:
    """Name and literal keywords of every call."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            given: dict[str, object] = {
                word.arg: word.value.value for word in node.keywords if word.arg and isinstance(word.value, ast.Constant)
            }
            yield ast.unparse(node.func), given


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
    assert find_wrong(source) == []
    imported = {
        module.split(".")[0]
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for module in ([node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names])
    }
    assert not imported & PICKLES or name_of(path) in UNPICKLERS
    called = {name for name, _ in calls_of(ast.parse(source))}
    assert "mlflow.pyfunc.load_model" not in called or name_of(path) in RUNS_REGISTERED_CODE


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
