from __future__ import annotations

import io
import json
import logging
import re
import shlex
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow
import pytest
import requests
from rich.console import Console as Terminal
from typer.main import get_command

from components.common.errors import PawflowError
from components.common.progress import MARK
from pipeline.__main__ import EXIT_CODES, app
from pipeline.catalog import find_recipe, list_recipes
from pipeline.console import Console, shown
from pipeline.versions import require_kfp
from tests.docs.reading import parse
from tests.processes import ROOT, command_environment, running_server


def run_cli(*arguments: str, module: str = "pipeline") -> subprocess.CompletedProcess[str]:
    environment = {**command_environment(), "COLUMNS": "200"}
    return subprocess.run([sys.executable, "-m", module, *arguments], capture_output=True, text=True, timeout=120, env=environment)


def test_an_older_kfp_is_refused() -> None:
    require_kfp("2.17.0")
    require_kfp("2.18.1")
    with pytest.raises(PawflowError, match=r"kfp 2\.16\.1 is installed, but pawflow needs 2\.17\.0 or newer"):
        require_kfp("2.16.1")


@pytest.mark.parametrize(
    ("name", "overrides", "message"),
    [
        ("fusoin", (), "did you mean 'fusion'"),
        ("zebra", (), "known ones: .*fusion, .*sample"),
        ("sample", ("sources.archives.0.provider=kagle",), "did you mean 'kaggle'"),
        ("sample", ("sources.archives.0.provider=ftp",), "known ones: local, sample"),
        ("sample", ("sources.archives.0.layout=zoo",), "known ones: dogs_vs_cats, dog_breeds"),
        ("sample", ("candidates.0.architecture=vgg99",), "did you mean .vgg16.. Known ones: simple_cnn, .*efficientnet_lite0"),
    ],
)
def test_unknown_names_fail_before_anything_runs(name: str, overrides: tuple[str, ...], message: str) -> None:
    with pytest.raises(PawflowError, match=message):
        find_recipe(name, overrides)


def test_a_file_that_is_no_recipe_is_not_said_to_be_missing(tmp_path: Path) -> None:
    path = tmp_path / "notes.md"
    path.touch()
    with pytest.raises(PawflowError, match="notes.md is no recipe: expected a .yaml or .yml file"):
        find_recipe(str(path))


def test_user_errors_are_one_message_and_exit_code_2() -> None:
    result = run_cli("run", "--recipe", "own_folder", "sources.archives.0.path=nowhere")
    assert result.returncode == 2
    assert "nowhere is no folder; expected the images" in result.stdout + result.stderr
    assert "Traceback" not in result.stdout + result.stderr


def test_recipes_are_listed() -> None:
    assert "flagship" in run_cli("recipes").stdout
    assert sorted(json.loads(run_cli("recipes", "--json").stdout)) == list_recipes()


def list_commands(command: Any = None, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    group: Any = command or get_command(app)
    for name, one in group.commands.items():
        if hasattr(one, "commands"):
            yield from list_commands(one, (*path, name))
        else:
            yield (*path, name), one


@pytest.mark.parametrize(("path", "command"), list(list_commands()), ids=lambda part: " ".join(part) if isinstance(part, tuple) else "")
def test_the_help_of_a_command_teaches_by_examples_that_are_right(path: tuple[str, ...], command: Any) -> None:
    _, *examples = re.split(r"Examples?: ", command.help)
    lines = [" ".join(line.split()) for example in examples for line in re.split(r";\s", example)]
    assert lines
    for line in lines:
        words = shlex.split(line)
        assert words[: 3 + len(path)] == ["python", "-m", "pipeline", *path]
        parse(command, words[3 + len(path) :])


def test_exit_codes_are_those_of_the_help() -> None:
    said = run_cli("--help")
    assert said.returncode == 0
    for code in EXIT_CODES:
        assert f"Exit code {code}:" in said.stdout
    assert run_cli("run", "--colour", "red").returncode == 2
    assert run_cli("registry", "history").returncode == 2
    broken = "import sys, pipeline.__main__ as it; it.list_recipes = None; sys.argv[1:] = ['recipes']; it.main()"
    assert subprocess.run([sys.executable, "-c", broken], capture_output=True, cwd=ROOT).returncode == 1


def test_a_quiet_run_shows_errors_alone() -> None:
    terminal, log = io.StringIO(), io.StringIO()
    console = Console(Terminal(file=terminal), log, only_errors=True)
    console.write(f"{MARK}fuse| done in 2 s\n{MARK}fuse| error: the disk is full\n")
    assert "done in" not in terminal.getvalue()
    assert "the disk is full" in terminal.getvalue()
    assert "done in" in log.getvalue()
    assert (console.num_errors, console.num_killed) == (1, 0)
    console.write("            Killed\n")
    assert (console.num_errors, console.num_killed) == (1, 1)


def test_what_libraries_log_is_in_the_log_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shown_to_people, logger = io.StringIO(), logging.getLogger()
    before = logger.handlers[:]
    with shown(Terminal(file=shown_to_people), tmp_path / "log"):
        # As the local runner does, which also takes the handlers away and back for each task.
        logging.error("Task train failed")
    assert logger.handlers == before
    assert "Task train failed" in (tmp_path / "log").read_text()
    assert shown_to_people.getvalue() + "".join(capsys.readouterr()) == ""


def test_predict_without_a_champion_says_how_to_get_one() -> None:
    result = run_cli("predict", "photo.jpg")
    assert result.returncode == 2
    assert "make run" in result.stderr


@pytest.mark.parametrize("step", ["start", "download", "fuse", "augment", "train", "evaluate", "register", "promote", "finish"])
def test_every_step_has_a_command_line(step: str) -> None:
    result = run_cli("--help", module=f"components.{step}")
    assert result.returncode == 0
    assert "--job" in result.stdout


@pytest.mark.parametrize("command", ["serve", "web", "ui", "tensorboard"])
def test_a_port_that_is_taken_is_said_at_once(command: str) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        result = run_cli(command, "--port", str(port))
    assert result.returncode == 2
    assert f"port {port} of 127.0.0.1 is taken; stop who listens there, or choose another with --port" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("command", ["serve", "web", "ui", "tensorboard"])
def test_no_port_is_above_the_highest(command: str) -> None:
    result = run_cli(command, "--port", "65536")
    assert result.returncode == 2
    assert "less than or equal to 65535" in result.stderr


def test_the_ui_shows_the_store_of_this_folder(tmp_path: Path) -> None:
    mlflow.MlflowClient().create_experiment("of-this-folder")
    with running_server([sys.executable, "-m", "pipeline", "ui", "--port", "0"], tmp_path / "log") as server:
        found = requests.get(f"{server.address}/api/2.0/mlflow/experiments/search?max_results=9", timeout=30).json()
    assert "of-this-folder" in {experiment["name"] for experiment in found["experiments"]}
    assert "Deprecat" not in (tmp_path / "log").read_text()
