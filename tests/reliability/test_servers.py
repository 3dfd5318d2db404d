"""Servers that go away during a run, and ports that somebody else has."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from tests.pipeline.workspace import ROOT
from tests.reliability.campaign import PATIENCE, Place, Report, stop, wait_for_quiet

pytestmark = pytest.mark.reliability

Expected = tuple[Place, dict[str, Any]]


class Server:
    """`mlflow server` over the place's database, which can be killed and started again at the same address."""

    def __init__(self, place: Place) -> None:
        self._place = place
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        self.address = f"http://127.0.0.1:{self._port}"
        self._environment = {**place.environment, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        place.environment["MLFLOW_TRACKING_URI"] = self.address

    def start(self) -> None:
        """Start, and wait until it answers."""
        folder = self._place.folder
        command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--workers", "1"]
        command += ["--artifacts-destination", str(folder / "artifacts"), "--host", "127.0.0.1", "--port", str(self._port)]
        with (folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                command, cwd=ROOT, env=self._environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        deadline = time.monotonic() + PATIENCE
        while True:
            with contextlib.suppress(requests.ConnectionError):
                if requests.get(f"{self.address}/health", timeout=5).ok:
                    return
            assert time.monotonic() < deadline, (folder / "server.log").read_text()
            time.sleep(0.2)

    def kill(self, number: int = signal.SIGKILL) -> None:
        """With a signal; on SIGTERM it finishes the answers that it has begun."""
        os.killpg(self.process.pid, number)
        self.process.wait()


@pytest.fixture
def server(place: Place) -> Iterator[Server]:
    """A running server, to which the place logs."""
    made = Server(place)
    try:
        made.start()
        yield made
    finally:
        stop(made.process)


@pytest.mark.parametrize("step", ["train cnn", "register"])
def test_mlflow_is_stopped_for_a_while(place: Place, server: Server, report: Report, undisturbed: Expected, step: str) -> None:
    with report.row("MLflow's server stopped (SIGTERM), and started 15 s later", f"in {step}") as told:
        run = place.start()
        run.wait_for_step(step)
        server.kill(signal.SIGTERM)
        time.sleep(15)
        server.start()
        code, output = run.end()
        assert code == 0, output
        assert place.result() == undisturbed[1]
        told.append("the run goes on and ends as the undisturbed one")


def test_mlflow_is_killed_for_a_while(place: Place, server: Server, report: Report, undisturbed: Expected) -> None:
    with report.row("MLflow's server killed (SIGKILL), and started 15 s later", "in train cnn") as told:
        run = place.start()
        run.wait_for_step("train cnn")
        server.kill()
        time.sleep(15)
        server.start()
        # MLflow's client does not ask again where an answer broke off in the middle.
        if run.process.wait(PATIENCE):
            told.append(f"exit code 2: “{run.fail()[:90]}…”")
            place.complete()
        assert place.result() == undisturbed[1]
        told.append("as the undisturbed run")


@pytest.mark.parametrize("step", ["train cnn", "register"])
def test_mlflow_stays_away(place: Place, server: Server, report: Report, undisturbed: Expected, step: str) -> None:
    place.environment["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] = "3"
    with report.row("MLflow's server killed for good, MLFLOW_HTTP_REQUEST_MAX_RETRIES=3", f"in {step}") as told:
        run = place.start()
        run.wait_for_step(step)
        server.kill()
        started = time.monotonic()
        sentence = run.fail()
        told.append(f"exit code 2 after {time.monotonic() - started:.0f} s: “{sentence[:90]}…”")
        again = place.start().fail()
        told.append(f"the same command: “{again[:70]}…”")
        server.start()
        place.complete()
        assert place.result() == undisturbed[1]
        assert not place.open_runs()
        assert not place.unjudged_versions()
        told.append("with the server: as the undisturbed run, no MLflow run left open, no version without a verdict")


@pytest.mark.parametrize("command", ["serve", "web", "ui", "tensorboard"])
def test_a_port_that_is_taken(undisturbed: Expected, report: Report, command: str) -> None:
    place = undisturbed[0]
    with socket.socket() as other, report.row(f"`pipeline {command}` on a port that is taken") as told:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        done = place.run("pipeline", command, "--port", str(port), timeout=120)
        assert done.returncode == 2
        assert "Traceback" not in done.stdout + done.stderr
        assert f"port {port} of 127.0.0.1 is taken" in done.stderr
        told.append(f"exit code 2: “{done.stderr.strip().partition('error: ')[2]}”")
        wait_for_quiet(place)
