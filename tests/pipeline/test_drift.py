"""`python -m pipeline drift` against a real gateway."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from fastapi import FastAPI
from fastapi.responses import HTMLResponse
from typer.testing import CliRunner

from components.common.errors import PawflowError
from pipeline.__main__ import app
from serving.drift import Reference
from serving.gateway.settings import Settings
from serving.gateway.sources import FolderSource
from serving.predictor import Predictor
from tests.conftest import write_mean_model
from tests.serving.gateway.conftest import serve
from tests.serving.http import draw, serve_app


def test_the_table_says_what_has_moved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_mean_model(tmp_path / "pets", 32, 2.0)
    levels = range(60, 200)
    measured = [Predictor(folder).measure(np.full((32, 32, 3), level, np.uint8), 50, 40) for level in levels]
    Reference.describe(np.stack(measured), 2).write(folder)
    source = FolderSource({"champion": folder, "challenger": write_mean_model(tmp_path / "other", 32, 1.0)})
    with serve(source, Settings(api_key="secret")) as client:
        with pytest.raises(PawflowError, match="wants its API key; set PAWFLOW_API_KEY"):
            CliRunner().invoke(app, ["drift", "--url", client.address], catch_exceptions=False)
        monkeypatch.setenv("PAWFLOW_API_KEY", "secret")
        client.headers["X-API-Key"] = "secret"
        for start in (0, 70):
            client.post("/predict", files=[("image", draw(level, (50, 40))) for level in levels[start : start + 60]])
        calm = CliRunner().invoke(app, ["drift", "--url", client.address])
        assert (calm.exit_code, "moved" in calm.output) == (0, False)
        assert "120 photos: " in calm.output
        assert "the last 120 against 140 held-out photos" in calm.output
        assert "no readable reference" in calm.output
        for _ in range(3):
            client.post("/predict", files=[("image", draw(0))] * 60)
        moved = CliRunner().invoke(app, ["drift", "--url", f"{client.address}/", "--json"])
        assert moved.exit_code == 3
        champion = json.loads(moved.output)["versions"][0]
        assert {drift["name"] for drift in champion["measures"] if drift["moved"]} >= {"brightness", "label"}


@pytest.mark.parametrize(
    ("status", "page", "message"),
    [
        (401, "<h1>Please log in</h1>", "wants its API key; set PAWFLOW_API_KEY"),
        (502, "<h1>Bad gateway</h1>", "answered with status 502: <h1>Bad gateway</h1>; is it a gateway"),
        (200, "<h1>Welcome</h1>", "answered with status 200: <h1>Welcome</h1>; is it a gateway"),
        (200, "[]", r"answered with status 200: \[\]; is it a gateway"),
    ],
)
def test_what_a_proxy_answers_is_told(status: int, page: str, message: str) -> None:
    proxy = FastAPI()
    proxy.add_api_route("/drift", lambda: HTMLResponse(page, status))
    with serve_app(proxy) as client, pytest.raises(PawflowError, match=message):
        CliRunner().invoke(app, ["drift", "--url", client.address], catch_exceptions=False)


def test_an_address_without_a_gateway_is_explained(deserted_address: str) -> None:
    with pytest.raises(PawflowError, match=f"no gateway answers at {deserted_address}/drift"):
        CliRunner().invoke(app, ["drift", "--url", deserted_address], catch_exceptions=False)
