"""Every command of every document is run here, or it stands in `NOT_RUN` with the reason, and is then checked as far as that goes."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import zipfile
from pathlib import Path

import mlflow.cli
import pytest
import typer

from components.download.sources.sample import write_archive
from pipeline.__main__ import app
from pipeline.catalog import find_recipe, list_recipes
from tests.docs.clone import Clone
from tests.docs.reading import DOCUMENTS, expand_make, parse, read_answers, read_commands
from tests.processes import ROOT

README = "README.md"
PIPELINE = ".venv/bin/python -m pipeline"

#: Command of the README -> what is run in its place: the same where empty, else a smaller one, by the one small run that all share.
RUN = {
    "make run": "make run ARGS=--smoke",
    f"{PIPELINE} data report": "",
    f"{PIPELINE} data why cat.7.jpg": "",
    f"{PIPELINE} data suspects": "",
    "make serve MODEL=dogs-vs-cats": "make serve MODEL=sample-smoke",
    """printf '{"dataframe_split": {"columns": ["image"], "data": [["%s"]]}}' "$(base64 < photo.jpg | tr -d '\\n')" |
  curl -s http://127.0.0.1:5001/invocations -H 'Content-Type: application/json' -d @-""": "",
    "make web MODEL=dogs-vs-cats": "make web MODEL=sample-smoke",
    "curl -F image=@photo.jpg http://127.0.0.1:5002/predict": "",
    f"{PIPELINE} doctor --recipe fusion": f"{PIPELINE} doctor --recipe sample",
    f"{PIPELINE} recipes": "",
    f"{PIPELINE} run --recipe sample --smoke": f"{PIPELINE} run --recipe sample --smoke --quiet",
    f"{PIPELINE} registry list": "",
    f"{PIPELINE} registry show champion": "",
    f"{PIPELINE} registry compare 1 champion": "",
    f'{PIPELINE} registry promote 7 --force --reason "night photos"': f'{PIPELINE} registry promote 2 --force --reason "night photos"',
    f'{PIPELINE} registry rollback --reason "takes foxes for dogs"': "",
    f"{PIPELINE} registry history": "",
    f"{PIPELINE} compile --profile infra/kubeflow/profile.yaml": "",
}

_ENGINE = "needs a container engine: make test-containers"
_COMPOSE = "needs Docker Compose: make test-compose"
_CLUSTER = "needs a cluster; tests/pipeline/test_cluster.py runs it against a served API"
_ARCHIVES = "needs Kaggle's archives, and minutes"
#: Document -> command, or the start of some, -> why it is not run.
NOT_RUN = {
    README: {
        "make test": "is what runs this",
        f"{PIPELINE} run --recipe fusion": _ARCHIVES,
        f"{PIPELINE} run --recipe own_folder": "docs/tutorial.md runs one like it",
        f"{PIPELINE} doctor --recipe fusion --runner cluster": _CLUSTER,
        f"{PIPELINE} run --recipe sample candidates.0.epochs=20 seed=3": "takes minutes",
        f"{PIPELINE} run --recipe sample 'candidates.0.grid.learning_rate=[0.01,0.001]'": "takes minutes",
        "mlflow run .": "takes minutes; tests/pipeline/test_whole_pipeline.py runs the like",
        "make images": _ENGINE,
        f"{PIPELINE} run --recipe sample --runner docker": _ENGINE,
        "make stack": "has a target of its own: make test-stack",
        **{f"{PIPELINE} {verb} ": _CLUSTER for verb in ("submit", "schedule", "upload")},
    },
    "docs/labels.md": {f"{PIPELINE} run": _ARCHIVES, f"{PIPELINE} data suspects": "the README's is run"},
    "docs/monitoring.md": {
        "make web": "the README's is run",
        **dict.fromkeys((f"{PIPELINE} drift", "curl "), "tests/serving/gateway/test_monitoring.py asks a gateway"),
    },
    "docs/operations.md": {f"{PIPELINE} registry": "the README's are run"},
    "docs/reliability.md": dict.fromkeys(("make test-reliability", "PAWFLOW_RELIABILITY_SEED=1"), "takes half an hour"),
    "docs/security.md": {
        **dict.fromkeys(("make audit", "make sbom", "make secrets", "make check-infra"), "makes an environment of its own"),
        "make check": "is part of make test",
    },
    "docs/serving.md": {"docker run": _ENGINE},
    "infra/README.md": {
        **dict.fromkeys(("make images", "infra/docker/make-base", "make test-containers", "docker ", "$STEP ", "STEP="), _ENGINE),
        "MODEL_DIR=": _COMPOSE,
        **dict.fromkeys(("mkdir -p data", "cp "), "prepares one that needs a container engine"),
        **dict.fromkeys(("make test-compose", "docker compose", "C=", "$C ", "mkdir -p backup", "export MLFLOW_"), _COMPOSE),
        "python -m pipeline run": _ENGINE,
        **dict.fromkeys(("make stack", "set -a; . .stack", "python -m infra.stack"), "make test-stack does it"),
        "mlflow artifacts download": _COMPOSE,
        "curl -F image=@photo.jpg https://pets.example": "needs that server",
        **dict.fromkeys(
            ("export ", "kubectl ", "set -a; . infra", "alias ", "put ", "fernet()", "SECRET=", "WEBHOOK_SECRET="), "needs a cluster"
        ),
    },
}


def find_reason(document: str, command: str) -> str | None:
    """Why a command is not run; by the longest start that fits."""
    reasons = NOT_RUN.get(document, {})
    starts = [start for start in reasons if command.startswith(start)]
    return reasons[max(starts, key=len)] if starts else None


#: The tutorial is run whole, by test_tutorial.py.
OTHERS = [
    (document, command)
    for document in DOCUMENTS
    for command in read_commands(document)
    if document != "docs/tutorial.md" and (document != README or command not in RUN)
]


@pytest.mark.parametrize(("document", "command"), OTHERS, ids=lambda text: text[:60])
def test_a_command_that_is_not_run_has_a_reason_and_parses(document: str, command: str) -> None:
    assert find_reason(document, command), f"{document} has a new command: run it (RUN), or say why not (NOT_RUN): {command}"
    words = [word for word in shlex.split(command, comments=True) if not re.match(r"[A-Z_]+=", word)] or [""]
    if words[0] == "make":
        for part in command.split("&&"):
            expand_make(re.sub(r"^([A-Z_]+=\S+ )+", "", part))
    elif words[:3] in ([".venv/bin/python", "-m", "pipeline"], ["python", "-m", "pipeline"]):
        given = parse(typer.main.get_command(app), words[3:])
        if given.get("recipe") in list_recipes():
            find_recipe(given["recipe"], tuple(given.get("overrides") or ()))
    elif "python -m " in command:
        module = ROOT.joinpath(*words[words.index("python") + 2].split("."))
        assert (module / "__main__.py").is_file()
    elif words[0] == "mlflow":
        parse(mlflow.cli.cli, words[1:])
    for word in words:
        if re.match(r"(\./)?(infra|pipeline|docs|components|benchmarks)/[\w./-]+$", word) and not word.endswith("/.env"):
            assert (ROOT / word).exists(), word


def test_the_tables_hold_nothing_that_is_gone() -> None:
    assert set(RUN) <= set(read_commands(README))
    for document, reasons in NOT_RUN.items():
        for start in reasons:
            assert any(document == other and command.startswith(start) for other, command in OTHERS), f"{document}: {start}"


def test_every_target_that_a_document_names_exists() -> None:
    for document in DOCUMENTS:
        for target in set(re.findall(r"`make ([a-z-]+)", (ROOT / document).read_text())):
            expand_make(f"make {target}")


def test_make_clean_keeps_what_people_flagged(tmp_path: Path) -> None:
    """As docs/operations.md promises to whoever has no space left."""
    for part in ("flagged", "cache", ".unfinished"):
        (tmp_path / ".pawflow" / part).mkdir(parents=True)
        (tmp_path / ".pawflow" / part / "photo.jpg").touch()
    for _ in range(2):
        subprocess.run(["make", "--file", ROOT / "Makefile", "clean"], cwd=tmp_path, check=True)
    assert [path.relative_to(tmp_path) for path in tmp_path.rglob("*.jpg")] == [Path(".pawflow/flagged/photo.jpg")]
    shutil.rmtree(tmp_path / ".pawflow")
    subprocess.run(["make", "--file", ROOT / "Makefile", "clean"], cwd=tmp_path, check=True)


def test_every_block_says_what_it_is() -> None:
    for document in DOCUMENTS:
        fences = re.findall(r"^ *```(\w*)$", (ROOT / document).read_text(), re.M)
        assert all(fences[::2]), f"{document} has a block without a language; commands are `sh`"
        assert not any(fences[1::2])


@pytest.mark.pipeline
@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl on this machine")
def test_the_commands_of_the_readme_run(tmp_path: Path) -> None:
    write_archive("dogs-vs-cats", tmp_path / "drawn.zip", num_images=24, seed=5)
    with zipfile.ZipFile(tmp_path / "drawn.zip") as outer, outer.open("train.zip") as inner, zipfile.ZipFile(inner) as train:
        (tmp_path / "photo.jpg").write_bytes(train.read("train/cat.1.jpg"))
    with Clone(tmp_path) as clone:
        said = clone.follow(README, RUN)
    assert said.keys() == RUN.keys()
    assert "Verdict: promoted" in said["make run"]
    assert said[f"{PIPELINE} run --recipe sample --smoke"].startswith("Verdict: kept the champion"), "--quiet says nothing before it"
    assert [set(answer["predictions"][0]["probabilities"]) for answer in read_answers(said)] == [{"cat", "dog"}] * 2
    history = said[f"{PIPELINE} registry history"]
    assert "night photos" in history
    assert "takes foxes for dogs" in history
    assert (tmp_path / "pawflow-training.yaml").is_file()
