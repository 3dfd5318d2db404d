"""The real thing: `mlflow models serve` as a child process, so that a model is asked as its callers will ask it.

In: the address of a logged or registered model. Out: answers over HTTP. It takes seconds to start, so it is started early and waited for
late.
"""

from __future__ import annotations

import base64
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any

import requests

from components.common import leash
from components.common.errors import PawflowError

_PATIENCE = 180.0
_PER_REQUEST = 60.0
#: Whatever proxy the environment names, it knows nothing of this machine's own ports.
_DIRECTLY = {"no_proxy": "127.0.0.1"}


def serving_command(uri: str, host: str, port: int) -> list[str]:
    """The command by which models are served, here and by `python -m pipeline serve`."""
    return ["mlflow", "models", "serve", "-m", uri, "--env-manager", "local", "-h", host, "-p", str(port)]


def serving_environment() -> dict[str, str]:
    """MLflow starts `uvicorn` by name, so this environment's own programs must be on the path even where it is not activated."""
    return {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"}


def find_free_port() -> int:
    """A port of this machine on which nobody listens; somebody else may come first to it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


class Endpoint:
    """A served model. Entering the context starts it without waiting; leaving it ends it with all its processes."""

    def __init__(self, uri: str) -> None:
        self._uri = uri
        self._port = find_free_port()
        self._address = f"http://127.0.0.1:{self._port}"

    def __enter__(self) -> Endpoint:
        self._log = tempfile.TemporaryFile()
        self._started = time.monotonic()
        # So that it ends, uvicorn and its workers included, also when this process is killed.
        self._server = leash.start(
            serving_command(self._uri, "127.0.0.1", self._port), env=serving_environment(), stdout=self._log, stderr=subprocess.STDOUT
        )
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(self._server.pid, number)
                self._server.wait(10)
                break
            except ProcessLookupError:
                break
            except subprocess.TimeoutExpired:
                continue
        self._log.close()

    def wait(self) -> float:
        """Wait until it answers, and return the seconds that it took from its start.

        Raises:
            PawflowError: It ended, or does not answer in three minutes.
        """
        while time.monotonic() - self._started < _PATIENCE:
            if self._server.poll() is not None:
                raise PawflowError(
                    f"the candidate does not serve: `mlflow models serve` ended with {self._server.returncode}. {self._tail()}"
                )
            try:
                if requests.get(f"{self._address}/ping", timeout=5, proxies=_DIRECTLY).ok:
                    return time.monotonic() - self._started
            except requests.RequestException:
                pass
            time.sleep(0.2)
        raise PawflowError(f"the candidate does not serve: no answer within {_PATIENCE:.0f} s. {self._tail()}")

    def post(self, image: bytes) -> requests.Response:
        """Send the bytes of one photo as callers do."""
        body = {"dataframe_split": {"columns": ["image"], "data": [[base64.b64encode(image).decode()]]}}
        return requests.post(f"{self._address}/invocations", json=body, timeout=_PER_REQUEST, proxies=_DIRECTLY)

    def ask(self, photo: bytes) -> dict[str, Any]:
        """The answer for one photo.

        Raises:
            PawflowError: It is an error.
        """
        response = self.post(photo)
        if response.status_code != 200:
            raise PawflowError(f"the candidate does not serve: status {response.status_code} for a test photo: {response.text[:500]}")
        (answer,) = response.json()["predictions"]
        assert isinstance(answer, dict)
        return answer

    def _tail(self) -> str:
        self._log.seek(0)
        return f"The end of its output: {self._log.read()[-1500:].decode(errors='replace').strip()}"
