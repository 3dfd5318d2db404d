"""The parts of the servers' benchmark that could mislead: what is sent, what counts as waiting, and the computed floor."""

from __future__ import annotations

import io
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.ceiling import count_multiplications
from benchmarks.load import Call, send_as_they_come, send_in_turn
from benchmarks.payloads import SIZES, encode
from benchmarks.population import draw
from serving.predictor import MODEL_FILE
from tests.conftest import write_mean_model

SECONDS = 0.05


class _Slow(BaseHTTPRequestHandler):
    """Answers one request at a time, each after `SECONDS`."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        time.sleep(SECONDS)
        self.send_response(200 if self.path == "/good" else 500)
        self.send_header("Content-Length", "2")
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def port() -> int:
    server = HTTPServer(("127.0.0.1", 0), _Slow)
    server.socket.listen(100)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return int(server.server_port)


def test_waiting_counts_from_when_a_caller_came(port: int) -> None:
    """Twice as many come as can be answered: the last wait for all before them."""
    waits = send_as_they_come(port, [Call("/good", b"x", "text/plain")], 20, 2 / SECONDS, seed=0)
    assert waits[0] >= SECONDS
    assert waits[-1] > 5 * SECONDS


def test_an_answer_that_is_none_ends_the_measurement(port: int) -> None:
    with pytest.raises(RuntimeError, match="status 500"):
        send_in_turn(port, [Call("/bad", b"x", "text/plain")], 1)


@pytest.mark.parametrize("name", ["23 KB", "100 KB"])
def test_a_photo_has_the_size_that_it_is_named_by(name: str) -> None:
    size, num_bytes = SIZES[name]
    data = encode(draw(0), size, num_bytes)
    assert 0.8 * num_bytes < len(data) <= num_bytes
    assert Image.open(io.BytesIO(data)).size == size


def test_the_floor_counts_every_multiplication(tmp_path: Path) -> None:
    """One matrix of 1 x 2 at each of 32 x 32 positions."""
    model = write_mean_model(tmp_path, 32, 1.0) / MODEL_FILE
    assert count_multiplications(model) == np.prod([32, 32, 2])
