"""A real MLflow server sends its webhook to the real receiver; only the Kubernetes API is a small server of this test."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import mlflow
import pytest
import requests
import yaml
from cryptography.fernet import Fernet

from components.common import leash
from components.register.endpoint import find_free_port
from infra.reload.receiver import Receiver, RefusedError, sign
from tests.processes import wait_until

RECEIVER = Path(__file__).parents[2] / "infra" / "reload" / "receiver.py"
SECRET = "shared-between-the-two"


@dataclass
class Cluster:
    """The part of the Kubernetes API that the receiver uses.

    Attributes:
        patches: Path and body of every patch.
        refusals: Statuses with which the next requests are refused.
    """

    patches: list[tuple[str, Any]] = field(default_factory=list)
    refusals: list[int] = field(default_factory=list)


@contextmanager
def serving(cluster: Cluster) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_PATCH(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            status = cluster.refusals.pop(0) if cluster.refusals else 200
            if status == 200:
                cluster.patches.append((self.path, body))
            content = json.dumps(
                {"kind": "Deployment", "apiVersion": "apps/v1"} if status == 200 else {"kind": "Status", "code": status}
            ).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *values: Any) -> None:  # noqa: A002
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


@contextmanager
def running(command: list[str], address: str, log: Path, **environment: str) -> Iterator[None]:
    """A process that answers at an address."""
    with log.open("wb") as stream:
        process = leash.start(command, env={**os.environ, **environment}, stdout=stream, stderr=stream)

    def answers() -> bool:
        assert process.poll() is None, log.read_text()
        try:
            return requests.get(address, timeout=5).ok
        except requests.RequestException:
            return False

    try:
        wait_until(answers, log.read_text)
        yield
    finally:
        # With the workers of a server.
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


@pytest.fixture
def receiver(cluster: Cluster, tmp_path: Path) -> Iterator[str]:
    """Address of the receiver, as a process."""
    with serving(cluster) as api:
        written = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "test",
            "clusters": [{"name": "test", "cluster": {"server": api}}],
            "users": [{"name": "test", "user": {"token": "of-the-service-account"}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
        }
        (tmp_path / "kubeconfig").write_text(yaml.safe_dump(written))
        port = find_free_port()
        settings = {"MODEL": "pets", "DEPLOYMENT": "endpoint", "NAMESPACE": "pawflow", "WEBHOOK_SECRET": SECRET, "PORT": str(port)}
        address = f"http://127.0.0.1:{port}"
        command = [sys.executable, str(RECEIVER)]
        with running(command, f"{address}/healthz", tmp_path / "receiver.log", KUBECONFIG=str(tmp_path / "kubeconfig"), **settings):
            yield address


def message(model: str = "pets", alias: str = "champion", event: str = "model_version_alias.created") -> bytes:
    entity, action = event.rsplit(".", 1)
    return json.dumps({"entity": entity, "action": action, "data": {"name": model, "alias": alias, "version": "7"}}).encode()


def headers(body: bytes, *, secret: str = SECRET, delivery: str = "delivery-1", age: int = 0) -> dict[str, str]:
    timestamp = str(int(time.time()) - age)
    return {
        "X-MLflow-Delivery-Id": delivery,
        "X-MLflow-Timestamp": timestamp,
        "X-MLflow-Signature": sign(secret, delivery, timestamp, body),
    }


def test_a_promotion_in_mlflow_restarts_the_deployment(
    receiver: str, cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address, store = f"http://127.0.0.1:{find_free_port()}", f"sqlite:///{tmp_path}/registry.db"
    command = [
        sys.executable,
        "-m",
        "mlflow",
        "server",
        "--backend-store-uri",
        store,
        "--port",
        address.rpartition(":")[2],
        "--workers",
        "1",
    ]
    settings = {
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_WEBHOOK_ALLOWED_SCHEMES": "https,http",
        "MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS": "true",
        "MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY": Fernet.generate_key().decode(),
    }
    with running(command, f"{address}/health", tmp_path / "mlflow.log", **settings):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        registering = {**os.environ, "WEBHOOK_SECRET": SECRET}
        done = subprocess.run([sys.executable, str(RECEIVER), "register", receiver], env=registering, capture_output=True, text=True)
        assert "model_version_alias.created goes to" in done.stdout, done.stderr
        client = mlflow.MlflowClient(address, address)
        for model in ("pets", "birds"):
            client.create_registered_model(model)
            for _ in range(2):
                client.create_model_version(model, "s3://bucket/of/no/consequence")
        client.set_registered_model_alias("birds", "champion", "1")
        client.set_registered_model_alias("pets", "challenger", "1")
        client.set_registered_model_alias("pets", "champion", "1")
        wait_until(lambda: len(cluster.patches) == 1)
        # Kubernetes is away once: MLflow sends the same message again.
        cluster.refusals.append(503)
        client.set_registered_model_alias("pets", "champion", "2")
        wait_until(lambda: len(cluster.patches) == 2)
        wait_until(lambda: (tmp_path / "receiver.log").read_text().count("nothing to do") == 2)
    told = (tmp_path / "receiver.log").read_text()
    assert "nothing to do: model_version_alias.created of birds, alias champion" in told
    assert "nothing to do: model_version_alias.created of pets, alias challenger" in told
    assert "502 not restarted: ApiException" in told
    assert SECRET not in told
    for version, (path, patch) in zip(("1", "2"), cluster.patches, strict=True):
        assert path.startswith("/apis/apps/v1/namespaces/pawflow/deployments/endpoint")
        annotations = patch["spec"]["template"]["metadata"]["annotations"]
        assert annotations["pawflow/champion"] == version
        assert "kubectl.kubernetes.io/restartedAt" in annotations
        assert set(patch) == {"spec"}


def test_strangers_and_copies_change_nothing(receiver: str, cluster: Cluster) -> None:
    body = message()
    signed = headers(body)
    refused = {
        "no signature": ({}, body, 401),
        "another secret": (headers(body, secret="guessed-by-somebody"), body, 401),
        "another body": (signed, message().replace(b'"7"', b'"8"'), 401),
        "another time": (signed | {"X-MLflow-Timestamp": str(int(time.time()) + 1)}, body, 401),
        "an old copy": (headers(body, age=400), body, 401),
        "no JSON": (headers(b"?"), b"?", 400),
        "another shape": (headers(b"[]"), b"[]", 400),
        "too much": (signed, bytes(70_000), 413),
    }
    for what, (sent, content, status) in refused.items():
        assert requests.post(receiver, data=content, headers=sent, timeout=60).status_code == status, what
    assert not cluster.patches
    # Proxies may write the names of headers small.
    copies = ({name.lower(): value for name, value in signed.items()}, signed)
    answers = [requests.post(receiver, data=body, headers=copy, timeout=60).json()["message"] for copy in copies]
    assert answers == ["restarting for pets version 7", "done before"]
    assert len(cluster.patches) == 1


def test_other_events_are_left_alone() -> None:
    done: list[str] = []
    receiver = Receiver("pets", SECRET, done.append)
    for body in (message(model="birds"), message(alias="previous"), message(event="model_version_alias.deleted")):
        assert receiver.receive(headers(body), body).startswith("nothing to do")
    with pytest.raises(RefusedError, match="signature"):
        Receiver("pets", "another", done.append).receive(headers(message()), message())
    assert not done
