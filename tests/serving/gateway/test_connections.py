"""Callers that are slow, broken or many, over bare sockets."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from contextlib import suppress
from typing import Any

import pytest
import requests
import uvicorn
from uvicorn.server import ServerState

from serving.gateway.connections import server_options
from serving.gateway.settings import Settings
from serving.gateway.sources import FolderSource
from tests.processes import wait_until
from tests.serving.gateway.conftest import StartGateway
from tests.serving.http import Client, draw

HEAD = b"POST /predict HTTP/1.1\r\nHost: x\r\n"
#: Their answers, 13 MB, fit into no buffers on the way.
MANY_REQUESTS = b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n" * 600


def connect(client: Client) -> socket.socket:
    host, port = client.address.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=60)


def read_all(connection: socket.socket) -> bytes:
    """What comes until the server closes."""
    received = b""
    try:
        while part := connection.recv(65536):
            received += part
    except ConnectionResetError:
        pass
    return received


def drip(connection: socket.socket, start: bytes, seconds: float) -> bool:
    """Send `start`, and a byte of a header now and then; whether the server hung up."""
    deadline = time.monotonic() + seconds
    try:
        connection.sendall(start)
        while time.monotonic() < deadline:
            connection.sendall(b"a")
            time.sleep(0.05)
    except OSError:
        return True
    return False


def ask_to_send(client: Client, num_bytes: int) -> socket.socket:
    """A connection whose head has arrived; where this machine was too slow for the server's patience, the next try."""
    for _ in range(100):
        connection = connect(client)
        with suppress(ConnectionError):
            connection.sendall(HEAD + f"Expect: 100-continue\r\nContent-Length: {num_bytes}\r\n\r\n".encode())
            if connection.recv(65536).startswith(b"HTTP/1.1 100"):
                return connection
        connection.close()
    raise AssertionError("no head arrives in time")


def has_room(client: Client) -> bool:
    """Whether one more connection gets its answer."""
    try:
        return requests.get(f"{client.address}/healthz", timeout=60).status_code == 200
    except requests.ConnectionError:
        return False


@pytest.mark.parametrize(
    "start",
    [
        b"",
        b"POST /pre",
        HEAD + b"X-Drip: ",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\nGET /",
        # The answer comes at once, the body that was announced never.
        b"GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\nno size\r\n",
        MANY_REQUESTS,
    ],
    ids=[
        "nothing",
        "half a line",
        "half a header",
        "half a second request",
        "a body that nobody reads",
        "a broken body",
        "answers that nobody takes",
    ],
)
def test_a_connection_cannot_be_held_by_dripping(start_gateway: StartGateway, two_models: FolderSource, start: bytes) -> None:
    client = start_gateway(two_models, head_seconds=0.4)
    with connect(client) as slow:
        assert drip(slow, start, 60)
    with connect(client) as silent, suppress(ConnectionError):
        silent.sendall(start)
        read_all(silent)
    wait_until(lambda: has_room(client))


def test_a_body_may_take_longer_than_a_head(start_gateway: StartGateway, two_models: FolderSource) -> None:
    client, photo = start_gateway(two_models, head_seconds=0.2), draw(255)
    with ask_to_send(client, len(photo)) as slow:
        for position in range(0, len(photo), len(photo) // 6 + 1):
            slow.sendall(photo[position : position + len(photo) // 6 + 1])
            time.sleep(0.1)
        assert slow.recv(65536).startswith(b"HTTP/1.1 200")


def test_those_who_hold_connections_make_room_for_those_who_ask(start_gateway: StartGateway, two_models: FolderSource) -> None:
    client = start_gateway(two_models, max_connections=8)
    idle = [connect(client) for _ in range(40)]
    for connection in idle:
        connection.sendall(HEAD)
    uploading = [connect(client) for _ in range(40)]
    for connection in uploading:
        connection.sendall(HEAD + b"Content-Length: 1000\r\n\r\nsome")
    for _ in range(3):
        with Client(client.address) as own:
            assert own.post("/predict", data=draw(255)).status_code == 200
    assert read_all(idle[0]) == b""
    for connection in idle + uploading:
        connection.close()


def test_those_who_never_read_make_room_too(start_gateway: StartGateway, two_models: FolderSource) -> None:
    client = start_gateway(two_models, max_connections=4)
    deaf = [connect(client) for _ in range(4)]
    for connection in deaf:
        connection.sendall(MANY_REQUESTS)
        assert connection.recv(1)
    wait_until(lambda: has_room(client))
    for connection in deaf:
        connection.close()


def test_who_takes_an_answer_slowly_has_as_long_again_for_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    async def send_much(_: Any, __: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": bytes(3_000_000)})

    async def take_slowly(listener: socket.socket, slow: socket.socket) -> None:
        loop, protocol, now = asyncio.get_running_loop(), server_options(Settings())["http"], 0.0
        monkeypatch.setattr(loop, "time", lambda: now)

        async def let_an_hour_pass() -> None:
            nonlocal now
            now += 3600
            for _ in range(3):
                await asyncio.sleep(0)

        config = uvicorn.Config(send_much, log_config=None)
        async with await loop.create_server(lambda: protocol(config, ServerState(), {}), sock=listener):
            slow.setblocking(False)
            await loop.sock_sendall(slow, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            await loop.sock_recv(slow, 1)
            (held,) = protocol.owing
            for _ in range(3):
                untaken = held.transport.get_write_buffer_size()
                while held.transport.get_write_buffer_size() == untaken:
                    await loop.sock_recv(slow, 4096)
                await let_an_hour_pass()
                assert held in protocol.owing
            # Buffers on the way may take some more.
            for _ in range(10):
                await let_an_hour_pass()
            assert held not in protocol.owing

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
        with socket.create_connection(listener.getsockname()) as slow:
            asyncio.run(take_slowly(listener, slow))


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200),
        b"\xff" * 300 + b"\r\n\r\n",
        b"GET /\xc3\xa9 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX-Large: " + b"a" * 3_000_000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\n" + b"".join(b"X-%d: many\r\n" % number for number in range(200_000)) + b"\r\n",
        HEAD + b"Content-Length: -1\r\n\r\n",
        HEAD + b"Content-Length: 4\r\nContent-Length: 5\r\n\r\nabcde",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\nno size\r\n",
        HEAD + b"Transfer-Encoding: gzip\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\nfffffffffffffffffffffffffffff\r\n",
    ],
    ids=["TLS", "noise", "target", "header", "headers", "negative", "two lengths", "chunk", "coding", "long chunk"],
)  # fmt: skip
def test_what_is_not_http_is_refused_in_words(
    gateway: Client, sent: bytes, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    with connect(gateway) as connection:
        connection.sendall(sent)
        head, _, body = read_all(connection).partition(b"\r\n\r\n")
    assert head.split()[1] in (b"400", b"501")
    assert json.loads(body).keys() == {"error_code", "message"}
    assert gateway.get("/healthz").status_code == 200
    assert not [record for record in caplog.records if record.exc_info]
    assert "Traceback" not in capfd.readouterr().err


def test_a_refusal_reaches_a_caller_who_sends_all_before_reading(start_gateway: StartGateway, two_models: FolderSource) -> None:
    client = start_gateway(two_models, max_body=100_000, api_key="secret")
    for path, headers, status in (("/predict", {"X-API-Key": "secret"}, 413), ("/predict", {}, 401), ("/nothing", {}, 404)):
        assert client.post(path, data=bytes(20_000_000), headers=headers).status_code == status
        assert client.post(path, data=iter([bytes(100_000)] * 100), headers=headers).status_code == status


def test_a_caller_that_leaves_before_its_answer_costs_nothing_more(gateway: Client) -> None:
    large = draw(255, (3000, 3000))
    for _ in range(10):
        with connect(gateway) as gone:
            gone.sendall(HEAD + f"Content-Length: {len(large)}\r\n\r\n".encode() + large)
    deadline = time.monotonic() + 60
    while "pawflow_admitted_requests 0.0" not in (text := gateway.get("/metrics").text) or "pawflow_buffered_bytes 0.0" not in text:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert gateway.post("/predict", data=draw(255)).status_code == 200
