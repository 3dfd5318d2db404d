"""What keeps the gateway's memory and time bounded, over real HTTP."""

from __future__ import annotations

import base64
import io
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from serving.gateway.sources import FolderSource
from serving.options import Options
from serving.predictor import Examined, Predictor
from tests.processes import wait_until
from tests.serving.gateway.conftest import StartGateway
from tests.serving.http import Client, draw

BRIGHT = draw(255)


def holds(client: Client, num_bytes: int) -> bool:
    return f"pawflow_buffered_bytes {num_bytes:.1f}\n" in client.get("/metrics").text


def test_size_and_number_are_limited(start_gateway: StartGateway, two_models: FolderSource) -> None:
    client = start_gateway(two_models, max_body=3000, max_photos=2, max_buffered=4000)
    assert client.post("/predict", data=bytes(3001)).json()["error_code"] == "REQUEST_TOO_LARGE"
    assert client.post("/predict", data=iter([bytes(2000)] * 2)).json()["error_code"] == "REQUEST_TOO_LARGE"
    for refused in (
        client.post("/predict", files=[("image", BRIGHT)] * 3),
        client.post("/invocations", json={"instances": [base64.b64encode(BRIGHT).decode()] * 3}),
    ):
        assert refused.status_code == 413
        assert "2 photos at most" in refused.json()["message"]
    assert client.post("/predict", files=[("image", BRIGHT)] * 2).status_code == 200


def test_large_photos_that_come_all_at_once_are_held_in_turn(start_gateway: StartGateway, two_models: FolderSource) -> None:
    noise = Image.frombytes("RGB", (400, 400), np.random.default_rng(0).bytes(480_000))
    stream = io.BytesIO()
    noise.save(stream, "PNG")
    client = start_gateway(two_models, max_body=500_000, max_buffered=1_200_000)

    def post(_: int) -> int:
        with Client(client.address) as own:
            return own.post("/predict", data=stream.getvalue()).status_code

    with ThreadPoolExecutor(24) as pool:
        assert list(pool.map(post, range(48))) == [200] * 48
    assert holds(client, 0)


def test_who_waits_for_room_gets_that_of_a_caller_that_was_too_slow(start_gateway: StartGateway, two_models: FolderSource) -> None:
    client = start_gateway(two_models, max_body=3000, max_buffered=4000, read_seconds=2)
    host, port = client.address.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as slow:
        slow.sendall(b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 3000\r\n\r\n" + bytes(2900))
        wait_until(lambda: holds(client, 2900))
        # Who comes later may also wait for longer; else both would be out of time at once.
        time.sleep(0.5)
        # The first is too slow, and until it is told so there is no room.
        with ThreadPoolExecutor(1) as pool:
            second = pool.submit(client.post, "/predict", data=bytes(2900))
            assert b"408" in slow.makefile("rb").readline()
            assert second.result().status_code == 400


def test_slow_and_vanishing_callers_hold_nothing(start_gateway: StartGateway, two_models: FolderSource) -> None:
    client = start_gateway(two_models, read_seconds=0.3)
    host, port = client.address.removeprefix("http://").split(":")
    head = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 5000\r\n\r\nsome"
    with socket.create_connection((host, int(port))) as slow:
        slow.sendall(head)
        assert b"408 Request Timeout" in slow.makefile("rb").readline()
    with socket.create_connection((host, int(port))) as gone:
        gone.sendall(head)
    wait_until(lambda: holds(client, 0))
    assert client.post("/predict", data=BRIGHT).status_code == 200


def test_too_many_at_once_are_refused_and_the_rest_answered(start_gateway: StartGateway, two_models: FolderSource) -> None:
    client = start_gateway(two_models, num_threads=1, max_waiting=2)
    large = draw(255, (3000, 3000))

    def post(_: int) -> tuple[int, str | None]:
        with Client(client.address) as own:
            answer = own.post("/predict", data=large)
            return answer.status_code, answer.headers.get("retry-after")

    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(post, range(24)))
    assert set(answers) == {(200, None), (503, "1")}
    assert client.post("/predict", data=BRIGHT).status_code == 200


def test_a_photo_that_waits_too_long_for_its_answer_is_sent_away(
    start_gateway: StartGateway, two_models: FolderSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, go_on, examine = start_gateway(two_models, num_threads=1, answer_seconds=0.3), threading.Event(), Predictor.examine

    def examine_slowly(predictor: Predictor, data: bytes, options: Options | None = None) -> Examined:
        go_on.wait(60)
        return examine(predictor, data, options)

    monkeypatch.setattr(Predictor, "examine", examine_slowly)
    try:
        # The first is being computed, and the second waits behind it.
        for refused in (client.post("/predict", data=BRIGHT), client.post("/predict", data=BRIGHT)):
            assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
            assert refused.json()["message"] == "too much is waiting before this photo; try again"
    finally:
        go_on.set()
    wait_until(lambda: client.post("/predict", data=BRIGHT).status_code == 200)
