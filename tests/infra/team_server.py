"""What tests ask of a team server, however it was started; and one of processes (`python -m infra.stack`), in a folder of its own."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import signal
import socket
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import mlflow
import psutil
import pytest
import requests

from infra.stack import credentials
from infra.stack.services import PARTS
from tests.processes import command_environment


def find_first_port() -> int:
    """The first of as many free ports as there are parts, whose neighbours 10,000 above are free as well."""
    for first in range(21_000, 50_000, 37):
        with ExitStack() as stack, contextlib.suppress(OSError):
            for port in range(first, first + len(PARTS)):
                for number in (port, port + 10_000):
                    stack.enter_context(socket.socket()).bind(("127.0.0.1", number))
            return first
    raise AssertionError("no free ports")


class TeamServer(ABC):
    """A team server as those know it who call it."""

    #: The registered model whose champion it serves.
    model: str

    def __init__(self) -> None:
        self.first_port = find_first_port()
        self.environment = command_environment()

    @property
    @abstractmethod
    def passwords(self) -> dict[str, str]:
        """By the names of `credentials.NAMES`."""

    @abstractmethod
    def client_environment(self) -> dict[str, str]:
        """Of a process that runs pipelines into it."""

    def address(self, part: str) -> str:
        return f"http://127.0.0.1:{self.first_port + PARTS.index(part)}"

    def run_pipeline(self, folder: Path, *arguments: str) -> None:
        """A run whose model is promoted, and of which nothing stays in the folder that it was started in."""
        command = [sys.executable, "-m", "pipeline", "run", *arguments]
        done = subprocess.run(command, cwd=folder, env=self.client_environment(), capture_output=True, text=True, timeout=500)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "Verdict: promoted" in done.stdout
        assert not (folder / "mlflow.db").exists()
        assert not (folder / "mlruns").exists()

    @contextlib.contextmanager
    def client(self) -> Iterator[mlflow.MlflowClient]:
        """MLflow's client, and MLflow's functions, as the administrator."""
        settings = {name: value for name, value in self.client_environment().items() if name.startswith("MLFLOW")}
        with pytest.MonkeyPatch.context() as patch:
            for name, value in settings.items():
                patch.setenv(name, value)
            yield mlflow.MlflowClient(settings["MLFLOW_TRACKING_URI"], settings["MLFLOW_TRACKING_URI"])

    def take_inventory(self, folder: Path) -> dict[str, object]:
        """What must survive: runs and how they ended, versions, aliases, and the SHA-256 of each file of the champion."""
        with self.client() as client:
            experiments = [experiment.experiment_id for experiment in client.search_experiments()]
            uri = f"models:/{self.model}@champion"
            champion = Path(mlflow.artifacts.download_artifacts(uri, dst_path=str(folder)))
            return {
                "runs": {run.info.run_id: run.info.status for run in client.search_runs(experiments)},
                "versions": {version.version: version.source for version in client.search_model_versions(f"name='{self.model}'")},
                "aliases": dict(client.get_registered_model(self.model).aliases),
                "files": {
                    path.relative_to(champion).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
                    for path in champion.rglob("*")
                    if path.is_file()
                },
            }

    def check_refusals(self) -> None:
        """No password, a wrong one, another host name, a reader who writes, a photo without the key."""
        search = f"{self.address('mlflow')}/api/2.0/mlflow/registered-models/search"
        assert requests.get(search, timeout=30).status_code == 401
        assert requests.get(search, auth=("admin", "password1234"), timeout=30).status_code == 401
        login = ("admin", self.passwords["MLFLOW_ADMIN_PASSWORD"])
        assert requests.get(search, auth=login, timeout=30).status_code == 200
        assert requests.get(search, auth=login, headers={"Host": "elsewhere.example"}, timeout=30).status_code == 403
        reader = ("reader", self.passwords["MLFLOW_READER_PASSWORD"])
        assert requests.get(search, auth=reader, timeout=30).status_code == 200
        rename = f"{self.address('mlflow')}/api/2.0/mlflow/experiments/update"
        refused = requests.post(rename, json={"experiment_id": "0", "new_name": "mine"}, auth=reader, timeout=30)
        assert refused.status_code == 403
        assert requests.post(f"{self.address('gateway')}/predict", timeout=30).status_code == 401

    def ask(self, photo: Path) -> dict[str, object]:
        """The gateway's answer, as soon as it has a champion."""
        for _ in range(240):
            if requests.get(f"{self.address('gateway')}/readyz", timeout=10).status_code == 200:
                break
            time.sleep(0.5)
        return ask_gateway(self.address("gateway"), photo, self.passwords["PAWFLOW_API_KEY"])

    def check_endpoint(self, photo: Path, expected: dict[str, object]) -> None:
        assert ask_endpoint(self.address("endpoint"), photo) == pytest.approx(expected["probabilities"])


def ask_gateway(address: str, photo: Path, key: str) -> dict[str, object]:
    """The prediction for one photo."""
    response = requests.post(f"{address}/predict", files={"image": photo.read_bytes()}, headers={"X-API-Key": key}, timeout=60)
    assert response.status_code == 200, response.text
    answer = response.json()["predictions"][0]
    assert isinstance(answer, dict)
    return answer


def ask_endpoint(address: str, photo: Path) -> object:
    """The probabilities for one photo."""
    body = {"dataframe_split": {"columns": ["image"], "data": [[base64.b64encode(photo.read_bytes()).decode()]]}}
    response = requests.post(f"{address}/invocations", json=body, timeout=60)
    assert response.status_code == 200, response.text
    return response.json()["predictions"][0]["probabilities"]


class Server(TeamServer):
    """The one of processes, which can be stopped, killed and started again."""

    model = "sample-smoke"

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder
        self.log = folder / "stack.log"

    @property
    def passwords(self) -> dict[str, str]:
        return credentials.read(self.folder / "data" / "credentials.env")

    def client_environment(self) -> dict[str, str]:
        return self.environment | credentials.read(self.folder / "data" / "client.env")

    def command(self, *arguments: str) -> list[str]:
        options = ["--folder", str(self.folder / "data"), "--first-port", str(self.first_port)]
        return [sys.executable, "-m", "infra.stack", *arguments, *options]

    def start(self) -> None:
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                self.command("up", "--model", self.model), cwd=self.folder, env=self.environment, stdout=log, stderr=log
            )
        self.wait_for("run into it")

    def wait_for(self, words: str) -> None:
        deadline = time.monotonic() + 300
        while words not in self.log.read_text():
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.5)

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(120) == 0, self.log.read_text()

    def kill(self) -> None:
        """As a power cut would, as far as processes can tell."""
        stack = psutil.Process(self.process.pid)
        for process in [stack, *stack.children(recursive=True)]:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self.process.wait()
        time.sleep(1)
