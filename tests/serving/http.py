"""Real HTTP in a thread of the test."""

from __future__ import annotations

import io
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import requests
import uvicorn
from fastapi import FastAPI
from PIL import Image


class Client(requests.Session):
    """Talks to one server; addresses are paths."""

    def __init__(self, address: str) -> None:
        super().__init__()
        self.address = address

    def request(self, method: str | bytes, url: str | bytes, *args: Any, **options: Any) -> requests.Response:
        return super().request(method, f"{self.address}{url!s}", *args, **{"timeout": 20, **options})


@contextmanager
def serve_app(app: FastAPI, **options: Any) -> Iterator[Client]:
    """Run an ASGI application on a free port while the block runs; `options` are uvicorn's."""
    # asyncio spares connections Nagle's wait of 40 ms only if their listener names its protocol.
    with socket.socket(proto=socket.IPPROTO_TCP) as listener:
        listener.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, **{"log_config": None, "access_log": False, **options}))
        thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
        thread.start()
        deadline = time.monotonic() + 20
        while not server.started:
            assert thread.is_alive()
            assert time.monotonic() < deadline
            time.sleep(0.01)
        with Client(f"http://127.0.0.1:{listener.getsockname()[1]}") as client:
            yield client
        server.should_exit = True
        thread.join(20)


def draw(level: int, size: tuple[int, int] = (50, 40), file_format: str = "PNG") -> bytes:
    """A grey photo, encoded."""
    stream = io.BytesIO()
    Image.new("RGB", size, (level, level, level)).save(stream, file_format)
    return stream.getvalue()
