"""Restarts the deployment that serves a model when MLflow says that the model has another champion.

    python receiver.py                      listen
    python receiver.py register URL         have MLflow send its events to URL

In: MLflow's webhook `model_version_alias.created`, signed with a secret that MLflow and this process share. Out: a patch of one Kubernetes
deployment, the same as `kubectl rollout restart` makes: new pods load the champion, and the old ones serve until those are ready. One file
that needs only MLflow's and Kubernetes's clients, because it runs in an image that holds no more. The environment: `MODEL`, `DEPLOYMENT`,
`NAMESPACE`, `WEBHOOK_SECRET`.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

from requests.structures import CaseInsensitiveDict

EVENT: Final = "model_version_alias.created"
ALIAS = "champion"
PORT = 5008
#: A message that was signed longer ago, or later than now, is none of MLflow's, or is somebody's copy. MLflow tries for some seconds.
_SECONDS_VALID = 300
_LARGEST_BODY = 65_536


class RefusedError(Exception):
    """A message that is not acted upon: its HTTP status, and why."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


def sign(secret: str, delivery: str, timestamp: str, body: bytes) -> str:
    """The signature that MLflow puts into `X-MLflow-Signature` (`mlflow.webhooks.delivery`)."""
    digest = hmac.new(secret.encode(), f"{delivery}.{timestamp}.".encode() + body, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(digest).decode()}"


class Receiver:
    """Decides on messages.

    Args:
        model: Registered model whose champion counts.
        secret: Shared with MLflow.
        restart: What to do, given the number of the new champion.
    """

    def __init__(self, model: str, secret: str, restart: Callable[[str], None]) -> None:
        self._model, self._secret, self._restart = model, secret, restart
        self._lock = threading.Lock()
        self._done: dict[str, float] = {}

    def receive(self, headers: Mapping[str, str], body: bytes) -> str:
        """Act on a message; returns what was done, in a sentence.

        Raises:
            RefusedError: It is not MLflow's, or not understood.
        """
        delivery = self._verify(headers, body)
        try:
            message = json.loads(body)
            event, data = f"{message['entity']}.{message['action']}", message["data"]
            subject = data["name"], data["alias"]
        except (ValueError, KeyError, TypeError) as error:
            raise RefusedError(400, "this is no event of an alias") from error
        if event != EVENT or subject != (self._model, ALIAS):
            return f"nothing to do: {event} of {subject[0]}, alias {subject[1]}"
        with self._lock:
            now = time.time()
            self._done = {name: when for name, when in self._done.items() if now - when <= 2 * _SECONDS_VALID}
            if delivery in self._done:
                return "done before"
            self._restart(str(data["version"]))
            # Only now: MLflow sends a message again if this failed.
            self._done[delivery] = now
        return f"restarting for {self._model} version {data['version']}"

    def _verify(self, headers: Mapping[str, str], body: bytes) -> str:
        delivery, timestamp, signature = (headers.get(f"X-MLflow-{name}") or "" for name in ("Delivery-Id", "Timestamp", "Signature"))
        expected = sign(self._secret, delivery, timestamp, body)
        if not hmac.compare_digest(expected.encode(), signature.encode()):
            raise RefusedError(401, "the signature is not that of the shared secret")
        # Signed, hence MLflow's own digits.
        if abs(time.time() - int(timestamp)) > _SECONDS_VALID:
            raise RefusedError(401, "the time stamp is not of the last minutes")
        return delivery


def make_restart(namespace: str, name: str) -> Callable[[str], None]:
    """What has Kubernetes replace the pods of a deployment, one after another, for a version."""
    # Takes seconds, which MLflow need not wait for when it sends its first message.
    from kubernetes import client, config

    def restart(version: str) -> None:
        # From KUBECONFIG, or in a pod from its service account, whose token changes from time to time.
        config.load_config()
        annotations = {"kubectl.kubernetes.io/restartedAt": datetime.now(UTC).isoformat(), "pawflow/champion": version}
        patch = {"spec": {"template": {"metadata": {"annotations": annotations}}}}
        client.AppsV1Api().patch_namespaced_deployment(name, namespace, patch, _request_timeout=10)

    return restart


def make_server(receiver: Receiver, host: str, port: int) -> ThreadingHTTPServer:
    """An HTTP server: POST for MLflow, GET /healthz for probes."""

    class Handler(BaseHTTPRequestHandler):
        # Of a caller who sends nothing.
        timeout = 10

        def do_GET(self) -> None:
            """Answer probes."""
            self._answer(*((200, "ready") if self.path == "/healthz" else (404, "POST an event, or GET /healthz")))

        def do_POST(self) -> None:
            """Take a message."""
            try:
                self._answer(200, receiver.receive(CaseInsensitiveDict(self.headers.items()), self._read()))
            except RefusedError as refused:
                self._answer(refused.status, str(refused))
            except Exception as error:
                # Kubernetes refuses or is away: MLflow tries again after a 5xx.
                self._answer(502, f"not restarted: {type(error).__name__}: {error}"[:500])

        def _read(self) -> bytes:
            length = self.headers.get("Content-Length") or ""
            if not length.isdecimal() or int(length) > _LARGEST_BODY:
                raise RefusedError(413, f"expected at most {_LARGEST_BODY} bytes, and their number")
            return self.rfile.read(int(length))

        def _answer(self, status: int, text: str) -> None:
            if self.command == "POST":
                print(f"{status} {text}", flush=True)
            content = json.dumps({"message": text}).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *values: Any) -> None:  # noqa: A002
            """Say nothing of probes."""

    return ThreadingHTTPServer((host, port), Handler)


def register(url: str) -> None:
    """Make the webhook in the MLflow that `MLFLOW_TRACKING_URI` names, as an administrator."""
    import mlflow

    made = mlflow.MlflowClient().create_webhook("pawflow-reload", url, [EVENT], secret=os.environ["WEBHOOK_SECRET"])
    print(f"webhook {made.webhook_id}: {EVENT} goes to {url}")


def main() -> None:
    """See the module."""
    match sys.argv[1:]:
        case ["register", url]:
            register(url)
        case []:
            restart = make_restart(os.environ["NAMESPACE"], os.environ["DEPLOYMENT"])
            secret = os.environ["WEBHOOK_SECRET"]
            if len(secret) < 16:
                sys.exit("WEBHOOK_SECRET has fewer than 16 characters; anybody could sign")
            # All of a pod's addresses; who may call is the network policy's to say.
            server = make_server(Receiver(os.environ["MODEL"], secret, restart), "0.0.0.0", int(os.environ.get("PORT", PORT)))  # noqa: S104
            print(f"listening on port {server.server_address[1]} for {os.environ['MODEL']}", flush=True)
            server.serve_forever()
        case other:
            sys.exit(f"unknown arguments {other}; expected none, or `register URL`")


if __name__ == "__main__":
    main()
