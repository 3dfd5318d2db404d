"""`python -m infra.stack` for tests, in a folder of its own."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import psutil
import requests

from infra.stack import credentials
from infra.stack.services import PARTS

#: Whose champion it serves.
MODEL = "sample-smoke"


def find_first_port() -> int:
    """The first of as many free ports as there are parts, whose neighbours 10,000 above are free as well."""
    for first in range(21_000, 50_000, 37):
        with ExitStack() as stack, contextlib.suppress(OSError):
            for port in range(first, first + len(PARTS)):
                for number in (port, port + 10_000):
                    stack.enter_context(socket.socket()).bind(("127.0.0.1", number))
            return first
    raise AssertionError("no free ports")


class Server:
    """A team server, which can be stopped, killed and started again."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.first_port = folder, find_first_port()
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW", "PAWFLOW", "AWS"))}
        self.log = folder / "stack.log"

    def command(self, *arguments: str) -> list[str]:
        options = ["--folder", str(self.folder / "data"), "--first-port", str(self.first_port)]
        return [sys.executable, "-m", "infra.stack", *arguments, *options]

    def start(self) -> None:
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                self.command("up", "--model", MODEL), cwd=self.folder, env=self.environment, stdout=log, stderr=log
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

    def address(self, part: str) -> str:
        return f"http://127.0.0.1:{self.first_port + PARTS.index(part)}"

    def client_environment(self) -> dict[str, str]:
        return self.environment | credentials.read(self.folder / "data" / "client.env")

    def find_champion(self) -> str:
        query = {"name": MODEL, "alias": "champion"}
        url = f"{self.address('mlflow')}/api/2.0/mlflow/registered-models/alias"
        login = ("admin", credentials.read(self.folder / "data" / "credentials.env")["MLFLOW_ADMIN_PASSWORD"])
        response = requests.get(url, params=query, auth=login, timeout=30)
        assert response.status_code == 200, response.text
        return str(response.json()["model_version"]["version"])

    def ask(self, photo: Path) -> dict[str, object]:
        key = credentials.read(self.folder / "data" / "credentials.env")["PAWFLOW_API_KEY"]
        for _ in range(240):
            if requests.get(f"{self.address('gateway')}/readyz", timeout=10).status_code == 200:
                break
            time.sleep(0.5)
        response = requests.post(
            f"{self.address('gateway')}/predict", files={"image": photo.read_bytes()}, headers={"X-API-Key": key}, timeout=60
        )
        assert response.status_code == 200, response.text
        answer = response.json()["predictions"][0]
        assert isinstance(answer, dict)
        return answer
