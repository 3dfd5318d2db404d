"""Minutes of everything at once against the gateway as it is deployed: `make test-load`. PAWFLOW_LOAD_SECONDS makes it longer or shorter.

The gateway runs in an environment of `requirements-serve.lock` alone, and reads an MLflow server over HTTP, whose alias is moved all the
while. 64 clients send ordinary photos and whatever else `hostile.py` thinks of; some connections drip; some callers leave.
"""

from __future__ import annotations

import contextlib
import os
import random
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import mlflow
import numpy as np
import psutil
import pytest
import requests

from benchmarks.common import make_environment
from benchmarks.weights import FORMS
from tests.load.hostile import UNFINISHED, Request, list_requests
from tests.processes import ROOT, running_server
from tests.serving.http import Client
from tests.serving.registering import register

pytestmark = pytest.mark.load

SECONDS = float(os.environ.get("PAWFLOW_LOAD_SECONDS", "120"))
#: Where environments are kept from one call to the next.
KEPT = os.environ.get("PAWFLOW_HOME", str(ROOT / ".pawflow"))
NUM_CLIENTS = 64
MODEL = "pets"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network, in 32 and in 8 bits."""
    folder = tmp_path_factory.mktemp("models")
    variables = {"PYTHONPATH": str(ROOT), "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db"}
    subprocess.run([sys.executable, "-m", "benchmarks.weights", str(folder)], check=True, cwd=folder, env={**os.environ, **variables})
    return folder


@pytest.fixture
def deployed(tmp_path: Path, models: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Client, psutil.Process]]:
    """The gateway with two versions of one network, and its process."""
    monkeypatch.setenv("PAWFLOW_HOME", KEPT)
    python = make_environment("gateway", "-r", str(ROOT / "requirements-serve.lock"))
    store = [f"--backend-store-uri=sqlite:///{tmp_path}/served.db", f"--artifacts-destination={tmp_path}/artifacts", "--workers=1"]
    server = [sys.executable, "-m", "mlflow", "server", *store, "--host=127.0.0.1", "--port=0"]
    with running_server(server, tmp_path / "registry.log") as registry:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", registry.address)
        for form, alias in zip(FORMS, ("champion", "challenger"), strict=True):
            version = register(models / form, MODEL, list_requests()[0][0].body)
            mlflow.MlflowClient().set_registered_model_alias(MODEL, alias, version)
        gateway = [str(python), "-m", "serving.gateway", "--port=0", "--poll-seconds=1", "--flagged", str(tmp_path / "flagged")]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        with running_server(gateway, tmp_path / "gateway.log", environment) as running, Client(running.address) as client:
            assert client.get("/readyz").ok
            yield client, psutil.Process(running.process.pid)


class Crowd:
    """The clients, and what they saw."""

    def __init__(self, client: Client) -> None:
        self.stop = threading.Event()
        self.wrong: list[str] = []
        self.statuses: Counter[int] = Counter()
        self.versions: Counter[str] = Counter()
        self.waits: list[float] = []
        self._client = client
        self._ordinary, self._others = list_requests()

    def ask(self, seed: int) -> None:
        """Send one request after the other, most of them ordinary."""
        chance = random.Random(seed)
        with Client(self._client.address) as own:
            while not self.stop.is_set():
                ordinary = chance.random() < 0.9
                request = chance.choice(self._ordinary if ordinary else self._others)
                try:
                    started = time.perf_counter()
                    answer = own.post(request.path, data=request.body, headers={"content-type": request.content_type}, timeout=60)
                    self._note(request, answer, time.perf_counter() - started, ordinary)
                except requests.RequestException as error:
                    self.wrong.append(f"{request.path} {len(request.body)} {request.content_type}: {error!r}")

    def _note(self, request: Request, answer: requests.Response, seconds: float, ordinary: bool) -> None:
        self.statuses[answer.status_code] += 1
        if answer.status_code not in request.statuses | {503} or (answer.status_code == 503 and "retry-after" not in answer.headers):
            self.wrong.append(f"{request.path} {len(request.body)}: {answer.status_code} {answer.text[:200]}")
        if answer.status_code == 200 and ordinary:
            self.waits.append(seconds)
            self.versions[answer.json()["predictions"][0]["model_version"]] += 1
        if set(answer.json()) not in ({"predictions"}, {"error_code", "message"}):
            self.wrong.append(answer.text[:200])

    def drip(self, seed: int) -> None:
        """Open connections and hardly send anything, or leave at once."""
        chance, host, port = random.Random(seed), *self._client.address.removeprefix("http://").split(":")
        while not self.stop.is_set():
            held = [socket.create_connection((host, int(port)), timeout=10) for _ in range(20)]
            for connection in held:
                connection.sendall(chance.choice(UNFINISHED))
            for _ in range(chance.choice([0, 10, 100])):
                for connection in held:
                    with contextlib.suppress(OSError):
                        connection.sendall(b"a")
                if self.stop.wait(0.3):
                    break
            for connection in held:
                connection.close()

    def move_alias(self) -> None:
        """Swap the aliases every few seconds."""
        registry, versions = mlflow.MlflowClient(), ["1", "2"]
        while not self.stop.wait(4):
            versions.reverse()
            for alias, version in zip(("champion", "challenger"), versions, strict=True):
                registry.set_registered_model_alias(MODEL, alias, version)


def test_everything_at_once(deployed: tuple[Client, psutil.Process]) -> None:
    client, process = deployed
    crowd = Crowd(client)
    work = [threading.Thread(target=crowd.ask, args=(seed,)) for seed in range(NUM_CLIENTS)]
    work += [threading.Thread(target=crowd.drip, args=(seed,)) for seed in range(5)] + [threading.Thread(target=crowd.move_alias)]
    for thread in work:
        thread.start()
    memory = []
    started = time.monotonic()
    while time.monotonic() - started < SECONDS:
        memory.append(process.memory_info().rss / 1e6)
        assert client.get("/healthz").status_code == 200
        time.sleep(0.25)
    crowd.stop.set()
    for thread in work:
        thread.join(120)
    p50, p99 = np.percentile(crowd.waits, [50, 99])
    first, second = np.array_split(memory, 2)
    print(f"{sum(crowd.statuses.values())} requests in {SECONDS:g} s: {dict(crowd.statuses)}; versions {dict(crowd.versions)}")
    print(f"photos of 500 x 375 pixels: p50 {p50:.2f} s, p99 {p99:.2f} s; memory: {first.max():.0f} MB at most, then {second.max():.0f}")
    assert crowd.wrong == []
    assert set(crowd.statuses) <= {200, 400, 413, 415, 503}
    assert len(crowd.versions) == 2
    assert p99 < 20
    assert max(memory) < 512
    # After the first half every kind of request has come many times; what still grew then would grow on.
    assert second.max() < 1.15 * first.max()
    deadline = time.monotonic() + 90
    while "pawflow_admitted_requests 0.0" not in (text := client.get("/metrics").text) or "pawflow_buffered_bytes 0.0" not in text:
        assert time.monotonic() < deadline
        time.sleep(0.5)


def test_a_thousand_held_connections_keep_nobody_out(deployed: tuple[Client, psutil.Process]) -> None:
    client, process = deployed
    host, port = client.address.removeprefix("http://").split(":")
    photo, held = list_requests()[0][0].body, []
    for number in range(2000):
        connection = socket.create_connection((host, int(port)), timeout=10)
        connection.sendall(UNFINISHED[number % len(UNFINISHED)])
        held.append(connection)
        if number % 100 == 99:
            with Client(client.address) as own:
                assert own.post("/predict", data=photo).status_code == 200
    assert process.memory_info().rss / 1e6 < 512
    for connection in held:
        connection.close()


def test_the_api_is_as_its_document_says(deployed: tuple[Client, psutil.Process]) -> None:
    python = make_environment("schemathesis", "schemathesis==4.32.5")
    command = [str(python.parent / "schemathesis"), "run", f"{deployed[0].address}/openapi.json", "--max-examples=60", "--seed=1"]
    # The document cannot say which bytes are a photo, so what fits it is refused often, and should be.
    command.append("--exclude-checks=positive_data_acceptance")
    done = subprocess.run(command, capture_output=True, text=True, timeout=1200)
    assert done.returncode == 0, done.stdout[-5000:]
