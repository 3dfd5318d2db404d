from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from rich.console import Console as Terminal

from components.common.errors import PawflowError
from pipeline.catalog import find_recipe
from pipeline.local import run_locally
from tests.processes import PATIENCE, command_environment

pytestmark = pytest.mark.pipeline


MANY = """
name: many
image_size: 32
sources: {archives: [{name: dogs-vs-cats, provider: sample, layout: dogs_vs_cats, num_images: 120}]}
candidates:
  - {name: cnn, architecture: simple_cnn, mode: scratch, epochs: 999, patience: 999, grid: {batch_size: [BATCHES]}}
"""


def processes_with(home: Path) -> list[int]:
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get("PAWFLOW_HOME") == str(home):
                found.append(process.pid)
    return found


def test_a_run_that_is_stopped_starts_nothing_that_was_queued(tmp_path: Path) -> None:
    """The runner has several threads, and each would start a next task when the one that it waits for is stopped."""
    (tmp_path / "many.yaml").write_text(MANY.replace("BATCHES", ", ".join(map(str, range(8, 32)))))
    environment = command_environment() | {"PAWFLOW_HOME": str(tmp_path / "home"), "TMPDIR": str(tmp_path)}
    command = [sys.executable, "-m", "pipeline", "run", "--recipe", "many.yaml"]
    run = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert run.stdout
    assert any("scratch epoch 1/999" in line for line in run.stdout)
    run.terminate()
    run.stdout.read()
    assert run.wait(PATIENCE) == 128 + signal.SIGTERM
    assert not processes_with(tmp_path / "home")


def test_a_failed_run_promises_nothing_and_leaves_its_caller_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    recipe = find_recipe("sample", (f"sources.root={tmp_path}/nowhere",))
    with pytest.raises(PawflowError, match="the run did not finish: see the error above") as failed:
        run_locally(recipe, Terminal(quiet=True))
    assert "same command" not in str(failed.value), "it would fail again"
    assert os.environ["TMPDIR"] == str(tmp_path)
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == handlers
