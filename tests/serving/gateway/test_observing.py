"""What the gateway says of its requests: counts, log lines, and an answer where code failed."""

from __future__ import annotations

import json
import logging

import pytest

from serving.gateway.observing import JsonFormatter
from serving.gateway.sources import FolderSource
from serving.predictor import Predictor
from tests.processes import wait_until
from tests.serving.http import Client, draw

BRIGHT = draw(255)


def test_metrics_count_requests_and_answers(gateway: Client, two_models: FolderSource) -> None:
    gateway.post("/predict", files=[("image", BRIGHT), ("image", BRIGHT)])
    gateway.post("/predict", data=b"camera shy")
    for number in range(3):
        gateway.get(f"/made-up/{number}")
    version = two_models.read_aliases()["champion"]
    text = gateway.get("/metrics").text
    assert 'pawflow_requests_total{method="POST",route="/predict",status="200"} 1.0' in text
    assert f'pawflow_answers_total{{label="dog",not_sure="false",version="{version}"}} 2.0' in text
    assert "pawflow_unreadable_photos_total 1.0" in text
    assert 'route="other",status="404"} 3.0' in text
    assert f'pawflow_version_info{{alias="champion",model="bright",precision="float32",version="{version}"}} 1.0' in text
    assert "made-up" not in text


def test_a_log_line_per_request_without_the_photo(gateway: Client, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "pawflow.gateway")
    answer = gateway.post("/predict", files={"image": ("grandma.png", BRIGHT)})
    # The line is written when the answer is out, so the client may be here first.
    wait_until(lambda: "request" in caplog.messages)
    (record,) = [record for record in caplog.records if record.message == "request"]
    text = JsonFormatter().format(record)
    assert "\n" not in text
    line = json.loads(text)
    assert (line["message"], line["level"], line["method"], line["client"]) == ("request", "info", "POST", "127.0.0.1")
    assert (line["route"], line["status"], line["request_id"]) == ("/predict", 200, answer.headers["x-request-id"])
    assert answer.json()["predictions"][0]["label"] == "dog"
    assert not [word for word in ("grandma", "dog") if word in text]


def test_what_nobody_foresaw_is_told_in_the_log_and_not_to_the_caller(
    gateway: Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("the secret of /opt/models")

    with monkeypatch.context() as broken:
        broken.setattr(Predictor, "examine", fail)
        failed = gateway.post("/predict", data=BRIGHT)
    request = failed.headers["x-request-id"]
    expected = f"something went wrong in the server; its log has the details under request {request}"
    assert (failed.status_code, failed.json()) == (500, {"error_code": "INTERNAL_ERROR", "message": expected})
    (record,) = [record for record in caplog.records if record.exc_info]
    line = json.loads(JsonFormatter().format(record))
    assert line["request_id"] == request
    assert line["trace"].endswith("RuntimeError: the secret of /opt/models")
    assert gateway.post("/predict", data=BRIGHT).status_code == 200
