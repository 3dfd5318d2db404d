"""MLflow's own scoring server over real HTTP, with a registered model."""

from __future__ import annotations

import base64
import io
import shutil
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
import yaml
from mlflow.pyfunc import scoring_server

from components.common.registry import TRAINED_ON, download_version
from serving.gateway.sources import RegistrySource
from serving.predictor import INT8_FILE, SERVE_TAG
from tests.conftest import write_mean_model
from tests.processes import wait_until
from tests.serving.http import Client, draw, serve_app
from tests.serving.registering import register

BRIGHT, DARK = draw(255), draw(0)
FIELDS = {"label", "probability", "probabilities", "not_sure", "model_version", "dataset_digest"}


@pytest.fixture(scope="module")
def registered(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Version 1 of `pets`, for which bright is "dog"; its 8-bit network thinks the opposite. Returns the registry's address."""
    folder = tmp_path_factory.mktemp("registry")
    uri = f"sqlite:///{folder}/mlflow.db"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("MLFLOW_TRACKING_URI", uri)
        model = write_mean_model(folder / "model", 32, 2.0)
        shutil.copy(write_mean_model(folder / "other", 32, -2.0) / "model.onnx", model / INT8_FILE)
        register(model, "pets", BRIGHT)
    return uri


@pytest.fixture
def server(registered: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", registered)
    with serve_app(scoring_server.init(mlflow.pyfunc.load_model("models:/pets/1"))) as client:
        yield client


def encode(data: bytes) -> str:
    return base64.b64encode(data).decode()


def test_a_registered_model_holds_code_to_read_and_no_pickle(registered: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", registered)
    folder = Path(mlflow.artifacts.download_artifacts("models:/pets/1", dst_path=str(tmp_path)))
    flavour = yaml.safe_load((folder / "MLmodel").read_text())["flavors"]["python_function"]
    assert flavour["model_code_path"].endswith("model.py")
    assert "python_model" not in flavour, "this is where a cloudpickle would be named"
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert len(files) > 5
    # Pickles of protocol 2 and later begin with this byte.
    assert not [path for path in files if path.suffix in (".pkl", ".pickle", ".joblib") or path.read_bytes()[:1] == b"\x80"]


def test_every_envelope_and_every_error(server: Client) -> None:
    """One server for all: loading it takes longer than all the questions."""
    rows = [encode(DARK), encode(BRIGHT)]
    envelopes: list[dict[str, Any]] = [
        {"dataframe_split": {"columns": ["image"], "data": [[row] for row in rows]}},
        {"dataframe_records": [{"image": row} for row in rows]},
        {"inputs": {"image": rows}},
        {"inputs": [{"image": row} for row in rows]},
        {"instances": [{"image": row} for row in rows]},
        {"instances": rows},
    ]
    for envelope in envelopes:
        answers = server.post("/invocations", json=envelope).json()["predictions"]
        assert [answer["label"] for answer in answers] == ["cat", "dog"], envelope
        assert [set(answer) for answer in answers] == [FIELDS, FIELDS]
        assert {answer["model_version"] for answer in answers} == {"1"}
        options = {"top_k": 1, "heat_map": True, "threshold": 1.0}
        (_, answer) = server.post("/invocations", json={**envelope, "params": options}).json()["predictions"]
        assert (list(answer["probabilities"]), answer["not_sure"]) == (["dog"], True)
        assert np.array(answer["heat_map"]).shape == (32, 32)
    one = server.post("/invocations", json={"inputs": {"image": encode(BRIGHT)}}).json()
    assert [answer["label"] for answer in one["predictions"]] == ["dog"]

    table = io.BytesIO()
    pd.DataFrame({"image": [DARK, BRIGHT]}).to_parquet(table)
    parquet = server.post("/invocations", data=table.getvalue(), headers={"content-type": "application/vnd.apache.parquet"})
    assert [answer["label"] for answer in parquet.json()["predictions"]] == ["cat", "dog"]

    batch = {"dataframe_split": {"columns": ["image"], "data": [[encode(BRIGHT)], [encode(b"camera shy")], [encode(DARK)]]}}
    refused = server.post("/invocations", json=batch)
    assert refused.status_code == 400
    assert "row 1: the 10 bytes are not an image" in refused.json()["message"]
    answers = server.post("/invocations", json={**batch, "params": {"on_error": "report"}}).json()["predictions"]
    assert [answer.get("label") for answer in answers] == ["dog", None, "cat"]
    assert answers[1] == {"error": "the 10 bytes are not an image in any accepted format (JPEG, PNG, GIF, WEBP, BMP, TIFF)"}

    for value in (5, None, [1], {"a": 1}, "%%%", "é", 1.5, True):
        wrong: list[dict[str, Any]] = [
            {"dataframe_split": {"columns": ["image"], "data": [[value]]}},
            {"dataframe_records": [{"image": value}]},
            {"inputs": {"image": [value]}},
            {"instances": [{"image": value}]},
        ]
        for envelope in wrong:
            answer = server.post("/invocations", json=envelope)
            assert answer.status_code == 400, envelope
            assert not {"stack_trace", "Traceback"} & set(answer.text.replace('"', " ").split()), envelope
    for params, message in (
        ({"top_k": -1}, "top_k is '-1'"),
        ({"on_error": "x"}, "expected fail or report"),
        ({"threshold": 2}, "from 0 to 1"),
    ):
        answer = server.post("/invocations", json={"instances": rows, "params": params})
        assert answer.status_code == 400
        assert message in answer.json()["message"]


def test_the_8_bit_network_serves_where_the_registry_says_so(registered: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", registered)
    photo = pd.DataFrame({"image": [BRIGHT]})
    labels = []
    for form in ("float32", "int8"):
        mlflow.MlflowClient().set_model_version_tag("pets", "1", SERVE_TAG, form)
        labels.append(mlflow.pyfunc.load_model("models:/pets/1").predict(photo)[0]["label"])
    mlflow.MlflowClient().delete_model_version_tag("pets", "1", SERVE_TAG)
    assert labels == ["dog", "cat"]


def test_where_there_is_no_8_bit_network_float32_serves_whatever_the_registry_says(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = write_mean_model(tmp_path / "model", 32, 2.0)
    (folder / TRAINED_ON).touch()
    register(folder, "pets", BRIGHT)
    mlflow.MlflowClient().set_model_version_tag("pets", "1", SERVE_TAG, "int8")
    readers: list[Callable[[], bool]] = [
        lambda: RegistrySource("pets").load("1").precision == "float32",
        lambda: not download_version("pets", "1").int8,
        lambda: mlflow.pyfunc.load_model("models:/pets/1").predict(pd.DataFrame({"image": [BRIGHT]}))[0]["label"] == "dog",
    ]
    for read in readers:
        caplog.clear()
        assert read()
        assert "serving float32: the tag pawflow.serve of pets version 1 says int8, but there is no model.int8.onnx" in caplog.messages


def test_beyond_the_bound_a_request_is_refused(registered: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", registered)
    model = mlflow.pyfunc.load_model("models:/pets/1")
    queue = model.unwrap_python_model()._queue
    queue.max_waiting = 1 - queue.num_threads
    gate, photo = threading.Event(), pd.DataFrame({"image": [BRIGHT]})
    with ThreadPoolExecutor(2) as callers:
        try:
            for _ in range(queue.num_threads):
                queue.submit(gate.wait)
            waiting = callers.submit(model.predict, photo)
            wait_until(lambda: queue.num_admitted)
            with pytest.raises(mlflow.exceptions.MlflowException, match="try again") as refusal:
                callers.submit(model.predict, photo).result(60)
        finally:
            gate.set()
    assert refusal.value.error_code == "TEMPORARILY_UNAVAILABLE"
    assert len(waiting.result()) == len(model.predict(photo)) == 1
