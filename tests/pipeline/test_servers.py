"""That the servers which a person starts end as that person ends them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import requests

from components.register.endpoint import find_free_port
from tests.processes import command_environment, wait_until


def test_ctrl_c_ends_the_ui_of_mlflow_without_a_word_of_python(tmp_path: Path) -> None:
    port, log = find_free_port(), tmp_path / "log"
    command = [sys.executable, "-m", "pipeline", "ui", "--port", str(port)]
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=tmp_path, env=command_environment(), stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )

    try:
        wait_until(lambda: _answers(port), log.read_text)
        # As a terminal does: to all that belong to the command.
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(60) == 0
    finally:
        process.kill()
    assert "Traceback" not in log.read_text()
    wait_until(lambda: not _answers(port))


def _answers(port: int) -> bool:
    try:
        return requests.get(f"http://127.0.0.1:{port}/health", timeout=5).ok
    except requests.RequestException:
        return False
