"""The part of the KFP 2 API that the commands use, over HTTP, answering in the shapes of its reference; for kfp's own client to talk to."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

_PREFIX = "/apis/v2beta1"


@dataclass
class Api:
    """What it was asked, and what it is to say.

    Attributes:
        address: Where it listens.
        states: Of a run, one for each question; the last stays.
        refusal: Status and sentence for each request that would change something.
        asked: Method, path, query and body of all requests.
    """

    address: str = ""
    states: list[str] = field(default_factory=lambda: ["PENDING", "RUNNING", "RUNNING", "SUCCEEDED"])
    refusal: tuple[int, str] | None = None
    asked: list[tuple[str, str, dict[str, list[str]], Any]] = field(default_factory=list)

    def sent(self, method: str, path: str) -> Any:
        """The body of the one request of that kind."""
        (body,) = [body for asked_method, asked_path, _, body in self.asked if (asked_method, asked_path) == (method, path)]
        return body

    def answer(self, method: str, path: str) -> tuple[int, dict[str, Any]]:
        """Status and body."""
        if method == "POST" and self.refusal:
            status, message = self.refusal
            return status, {"error": message, "code": 9, "message": message, "details": [{"error_details": f"{message}\ngoroutine 7"}]}
        if method == "GET" and path.startswith("/runs/"):
            return 200, {"run_id": path.removeprefix("/runs/"), "state": self.states.pop(0) if len(self.states) > 1 else self.states[0]}
        answers: dict[tuple[str, str], dict[str, Any]] = {
            ("GET", "/healthz"): {"multi_user": False},
            ("GET", "/experiments"): {},
            ("POST", "/experiments"): {"experiment_id": "e-1", "display_name": "pawflow"},
            ("POST", "/runs"): {"run_id": "r-1", "experiment_id": "e-1", "state": "PENDING"},
            ("POST", "/recurringruns"): {"recurring_run_id": "s-1"},
            ("GET", "/pipelines"): {},
            ("POST", "/pipelines/upload"): {"pipeline_id": "p-1"},
            ("POST", "/pipelines/upload_version"): {"pipeline_id": "p-1", "pipeline_version_id": "v-1"},
        }
        return 200, answers[method, path]


@contextmanager
def serving_kfp() -> Iterator[Api]:
    """Serve it on a free port while the body runs."""
    api = Api()

    class Handler(BaseHTTPRequestHandler):
        def _reply(self) -> None:
            parts = urlsplit(self.path)
            data = self.rfile.read(int(self.headers.get("content-length") or 0))
            body = json.loads(data) if self.headers.get("content-type") == "application/json" and data else data
            path = parts.path.removeprefix(_PREFIX)
            api.asked.append((self.command, path, parse_qs(parts.query), body))
            status, answer = api.answer(self.command, path)
            text = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        do_GET = do_POST = _reply  # noqa: N815

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    api.address = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield api
    finally:
        server.shutdown()
        server.server_close()
