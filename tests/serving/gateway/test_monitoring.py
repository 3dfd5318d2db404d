"""What the gateway counts of its answers, over real HTTP."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from serving.drift import FEWEST, MEASURES, REFERENCE_FILE, WINDOW, Reference
from serving.gateway.sources import FolderSource
from serving.predictor import Predictor
from tests.conftest import write_mean_model
from tests.serving.gateway.conftest import StartGateway
from tests.serving.http import Client, draw

DARK, GREY, BRIGHT = draw(0), draw(130), draw(255)


def describe(folder: Path) -> Path:
    """Give a model a reference: grey photos of many levels."""
    predictor = Predictor(folder)
    measured = [predictor.measure(np.full((32, 32, 3), level, np.uint8), 50, 40) for level in range(80, 180)]
    Reference.describe(np.stack(measured), 2).write(folder)
    return folder


@pytest.fixture
def watched(start_gateway: StartGateway, tmp_path: Path) -> Client:
    """A champion with a reference, and a challenger without."""
    folders = {
        "champion": describe(write_mean_model(tmp_path / "bright", 32, 2.0)),
        "challenger": write_mean_model(tmp_path / "b", 32, -2.0),
    }
    return start_gateway(FolderSource(folders))


def post(client: Client, *photos: bytes, path: str = "/predict") -> None:
    assert client.post(path, files=[("image", photo) for photo in photos]).status_code == 200


def test_answers_are_counted_by_version(watched: Client) -> None:
    post(watched, BRIGHT, BRIGHT, DARK, GREY)
    post(watched, BRIGHT, path="/predict/challenger")
    assert watched.post("/predict", data=b"camera shy").status_code == 400
    told = watched.get("/drift").json()
    assert (told["window"], told["fewest"]) == (WINDOW, FEWEST)
    champion, challenger = told["versions"]
    assert (told["model"], champion["alias"], challenger["alias"]) == ("bright", "champion", "challenger")
    assert (champion["photos"], champion["labels"], champion["not_sure"]) == (4, {"cat": 1, "dog": 3}, 1)
    assert {bin_["at_most"]: bin_["photos"] for bin_ in champion["probabilities"] if bin_["photos"]} == {0.6: 1, 0.99: 3}
    assert (champion["reference_photos"], champion["recent_photos"]) == (100, 4)
    assert [drift["name"] for drift in champion["measures"]] == list(MEASURES)
    assert (challenger["photos"], challenger["labels"]) == (1, {"cat": 1, "dog": 0})
    assert (challenger["reference_photos"], challenger["recent_photos"], challenger["measures"]) == (None, 0, [])


def test_photos_of_another_kind_count_as_moved(watched: Client) -> None:
    for _ in range(2):
        post(watched, *[draw(level, (50, 40)) for level in range(80, 180, 2)])
    quiet = {drift["name"]: drift for drift in watched.get("/drift").json()["versions"][0]["measures"]}
    assert not any(drift["moved"] for drift in quiet.values())
    for _ in range(4):
        post(watched, *[DARK] * 50)
    loud = {drift["name"]: drift for drift in watched.get("/drift").json()["versions"][0]["measures"]}
    assert loud["brightness"]["moved"]
    assert loud["label"]["moved"]
    assert not loud["size"]["moved"]
    assert loud["brightness"]["now"][0] == pytest.approx(2 / 3)


def test_a_callers_own_threshold_moves_nothing(watched: Client) -> None:
    asked = {threshold: watched.post(f"/predict?threshold={threshold}", data=BRIGHT).json()["predictions"][0] for threshold in (1, 0)}
    assert [answer["not_sure"] for answer in asked.values()] == [True, False], "callers are told what they ask for"
    told = watched.get("/drift").json()["versions"][0]
    assert (told["photos"], told["not_sure"]) == (2, 0)
    assert re.findall(r'^pawflow_answers_total{.*not_sure="(\w+)".*} (\S+)$', watched.get("/metrics").text, re.MULTILINE) == [
        ("false", "2.0")
    ]
    assert next(drift for drift in told["measures"] if drift["name"] == "not_sure")["now"] == [1, 0]


def test_a_version_with_a_damaged_reference_answers_and_is_counted(
    start_gateway: StartGateway, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = describe(write_mean_model(tmp_path / "bright", 32, 2.0))
    (folder / REFERENCE_FILE).write_text((folder / REFERENCE_FILE).read_text()[:100])
    client = start_gateway(FolderSource({"champion": folder}))
    post(client, BRIGHT)
    told = client.get("/drift").json()["versions"][0]
    assert (told["photos"], told["reference_photos"], told["measures"]) == (1, None, [])
    assert "is damaged" in caplog.text


def test_prometheus_is_told_the_same(watched: Client) -> None:
    post(watched, BRIGHT, GREY)
    told, text = watched.get("/drift").json()["versions"], watched.get("/metrics").text
    champion = told[0]["version"]
    for drift in told[0]["measures"]:
        for metric, key in (("pawflow_drift", "index"), ("pawflow_drift_limit", "limit")):
            found = re.search(rf'^{metric}{{measure="{drift["name"]}",version="{champion}"}} (\S+)$', text, re.MULTILINE)
            assert found
            assert float(found[1]) == pytest.approx(drift[key])
    assert f'pawflow_drift_photos{{version="{champion}"}} 2.0' in text
    assert f'pawflow_drift_photos{{version="{told[1]["version"]}"}} 0.0' in text
    assert f'pawflow_answer_probability_bucket{{le="0.6",version="{champion}"}} 1.0' in text


def test_what_is_counted_wants_the_key(start_gateway: StartGateway, two_models: FolderSource) -> None:
    client = start_gateway(two_models, api_key="secret")
    assert client.get("/drift").status_code == 401
    assert client.get("/drift", headers={"X-API-Key": "secret"}).status_code == 200
