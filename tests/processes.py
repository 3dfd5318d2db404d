"""The project's own commands as processes, as a person starts them: their environment, waiting for them, and servers on free ports."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

ROOT = Path(__file__).parents[1]
#: Seconds until something happens, on a machine that is busy with much else.
PATIENCE = 240.0
#: What may be set for the project, or for what it talks to, where its tests run: no test is about that.
SETTINGS = ("AWS_", "KFP_", "KF_", "MLFLOW_", "PAWFLOW_")
#: Where one of them is set, Typer and Rich colour what is no terminal either, as GitHub's runners would have it, and words fall apart.
_COLOURING = {"FORCE_COLOR", "GITHUB_ACTIONS", "PY_COLORS", "TTY_COMPATIBLE"}


def command_environment() -> dict[str, str]:
    """This process's environment without `SETTINGS` and without colours; commands are found, and modules from any folder."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(SETTINGS) and name not in _COLOURING}
    first = {"PATH": str(Path(sys.executable).parent), "PYTHONPATH": str(ROOT)}
    found = {name: os.pathsep.join(filter(None, (path, inherited.get(name)))) for name, path in first.items()}
    return {**inherited, **found, "COLUMNS": "160", "MLFLOW_DISABLE_TELEMETRY": "true"}


def wait_until(condition: Callable[[], object], explain: Callable[[], str] = str, seconds: float = PATIENCE) -> None:
    """Ask until the answer is yes; `explain` is what to say if it stays no."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, explain()
        time.sleep(0.05)


@dataclass(frozen=True)
class Server:
    """A server that runs.

    Attributes:
        address: Where it answers, without a path.
        process: It.
    """

    address: str
    process: subprocess.Popen[Any]


@contextmanager
def running_server(command: list[str], log: Path, environment: Mapping[str, str] | None = None) -> Iterator[Server]:
    """A server told to listen on any free port, while the block runs; it has said in its log which port that became, and answers."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=log.parent,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )

    def find_address() -> str:
        assert process.poll() is None, f"{command} ended: {log.read_text()[-2000:]}"
        said = re.search(r"(?:Uvicorn running on|TensorBoard \S+ at) (http://[\w.]+:\d+)", log.read_text())
        return said[1] if said else ""

    def answers() -> bool:
        try:
            return bool(address := find_address()) and requests.get(address, timeout=5).status_code < 500
        except requests.RequestException:
            return False

    try:
        wait_until(answers, lambda: f"{command} does not answer: {log.read_text()[-2000:]}")
        yield Server(find_address(), process)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        process.wait(60)
