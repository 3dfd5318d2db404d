"""A web server that behaves as badly as real ones do."""

from __future__ import annotations

import hashlib
import random
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Server:
    """What it serves, how it behaves, and what it was asked.

    Attributes:
        url: Its address.
        files: Content by path.
        cuts: How many more answers end early, at a random point and without a word.
        ranges: Whether it can serve a part of a file.
        versions: Whether it names the version of a file.
        statuses: Answers to give, one a request, before anything is served.
        pause: Seconds between pieces of 64 kB.
        asked: The Range header of each request.
        num_bytes: Bytes of content sent.
    """

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    cuts: int = 0
    ranges: bool = True
    versions: bool = True
    statuses: list[int] = field(default_factory=list)
    pause: float = 0.0
    asked: list[str] = field(default_factory=list)
    num_bytes: int = 0


def _make_handler(server: Server) -> type[BaseHTTPRequestHandler]:
    chance = random.Random(0)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            server.asked.append(self.headers.get("Range", ""))
            status = server.statuses.pop(0) if server.statuses else 200
            if status != 200 or self.path not in server.files:
                self.send_error(status if status != 200 else 404)
                return
            self._send(server.files[self.path])

        def do_POST(self) -> None:
            """As Kaggle's API answers: with where the archive is."""
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            status = server.statuses.pop(0) if server.statuses else 302
            if status != 302:
                self.send_error(status)
                return
            self.send_response(302)
            self.send_header("Location", f"{server.url}/archive.zip")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def _send(self, content: bytes) -> None:
            etag = f'"{hashlib.md5(content).hexdigest()}"'
            match = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
            start = int(match[1]) if match and server.ranges and self.headers.get("If-Range", etag) == etag else 0
            if match and server.ranges and start >= len(content):
                self.send_error(416)
                return
            self.send_response(206 if start else 200)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
            if server.ranges:
                self.send_header("Accept-Ranges", "bytes")
            if server.versions:
                self.send_header("ETag", etag)
            self.send_header("Content-Length", str(len(content) - start))
            self.end_headers()
            end = len(content)
            if server.cuts and end - start > 1:
                server.cuts -= 1
                end = chance.randrange(start + 1, end)
                self.close_connection = True
            for position in range(start, end, 1 << 16):
                # Counted first: the client may be done with it, and look at the count, before this thread goes on.
                server.num_bytes += min(1 << 16, end - position)
                self.wfile.write(content[position : min(position + (1 << 16), end)])
                time.sleep(server.pause)

    return Handler


@contextmanager
def serving() -> Iterator[Server]:
    """Serve on a free port while the body runs."""
    server = Server()

    class Quiet(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: object, client_address: object) -> None:
            """A client that was killed is part of the test."""

    with Quiet(("127.0.0.1", 0), _make_handler(server)) as listening:
        server.url = f"http://127.0.0.1:{listening.server_address[1]}"
        thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server
        listening.shutdown()
        thread.join()
