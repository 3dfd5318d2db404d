from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import mlflow
import pytest
import requests

from components.common import leash
from components.common.errors import PawflowError
from pipeline.catalog import find_recipe
from pipeline.versions import require_kfp

ROOT = Path(__file__).parents[2]


def run_cli(*arguments: str, module: str = "pipeline") -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "COLUMNS": "200"}
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
        ("zebra", (), "Known recipes: .*fusion, .*sample"),
        ("sample", ("sources.archives.0.provider=ftp",), "known ones: local, sample"),
        ("sample", ("sources.archives.0.layout=zoo",), "known ones: dogs_vs_cats, dog_breeds"),
        ("sample", ("candidates.0.architecture=vgg99",), "known ones: simple_cnn, .*efficientnet_lite0"),
    ],
)
def test_unknown_names_fail_before_anything_runs(name: str, overrides: tuple[str, ...], message: str) -> None:
    with pytest.raises(PawflowError, match=message):
        find_recipe(name, overrides)


def test_user_errors_are_one_message_and_exit_code_2() -> None:
    result = run_cli("run", "--recipe", "own_folder", "sources.archives.0.path=nowhere")
    assert result.returncode == 2
    assert "nowhere is no folder; expected the images" in result.stdout + result.stderr
    assert "Traceback" not in result.stdout + result.stderr


def test_recipes_are_listed() -> None:
    assert "flagship" in run_cli("recipes").stdout


def test_predict_without_a_champion_says_how_to_get_one() -> None:
    result = run_cli("predict", "photo.jpg")
    assert result.returncode == 2
    assert "make run" in result.stderr


@pytest.mark.parametrize("step", ["start", "download", "fuse", "augment", "train", "evaluate", "register", "promote", "finish"])
def test_every_step_has_a_command_line(step: str) -> None:
    result = run_cli("--help", module=f"components.{step}")
    assert result.returncode == 0
    assert "--job" in result.stdout


@pytest.mark.parametrize("command", ["serve", "web", "ui"])
def test_a_port_that_is_taken_is_said_at_once(command: str) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        result = run_cli(command, "--port", str(port))
    assert result.returncode == 2
    assert f"port {port} of 127.0.0.1 is taken; stop who listens there, or choose another with --port" in result.stderr
    assert "Traceback" not in result.stderr


def test_the_ui_shows_the_store_of_this_folder(tmp_path: Path) -> None:
    mlflow.MlflowClient().create_experiment("of-this-folder")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with (tmp_path / "log").open("wb") as log:
        server = leash.start([sys.executable, "-m", "pipeline", "ui", "--port", str(port)], stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 120
        while True:
            with contextlib.suppress(requests.ConnectionError):
                found = requests.get(f"http://127.0.0.1:{port}/api/2.0/mlflow/experiments/search?max_results=9", timeout=30).json()
                break
            assert server.poll() is None, (tmp_path / "log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.2)
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()
    assert "of-this-folder" in {experiment["name"] for experiment in found["experiments"]}
