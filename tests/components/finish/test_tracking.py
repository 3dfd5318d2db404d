"""The run tree: how a pipeline run is opened, found, adopted and closed."""

from __future__ import annotations

import os
import socket
import threading
from pathlib import Path

import mlflow
import pytest

from components.common import tracking, tracking_store
from components.common.errors import PawflowError
from components.common.recipe import Recipe
from components.common.store import Record
from components.finish.run import run as finish
from components.start.run import run as start
from tests.processes import wait_until


def status_of(run_id: str) -> str:
    return str(mlflow.get_run(run_id).info.status)


def test_a_failed_pipeline_is_closed_with_its_open_children(recipe: Recipe) -> None:
    start(recipe=recipe.model_dump_json(), job="17")
    parent = tracking.find_pipeline_run("17")
    assert parent is not None
    assert status_of(parent) == "RUNNING"
    assert mlflow.get_run(parent).data.tags["mlflow.note.content"] == "Recipe tiny; candidates: cnn, frozen, tuned"
    with tracking.step_run("fuse", recipe, "17"):
        pass
    child = mlflow.MlflowClient().create_run("1", tags={"mlflow.parentRunId": parent})
    finish(job="17", state="FAILED", error="task fuse failed")
    assert status_of(parent) == "FAILED"
    assert status_of(child.info.run_id) == "KILLED"
    assert "fuse" in mlflow.get_run(parent).data.tags["pawflow.message"]


def test_runs_of_a_dead_process_are_closed_by_the_next(recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAWFLOW_OWNER", f"{socket.gethostname()}:999999999")
    start(recipe=recipe.model_dump_json(), job="1")
    monkeypatch.setenv("PAWFLOW_OWNER", "another-host:999999999")
    start(recipe=recipe.model_dump_json(), job="2")
    monkeypatch.setenv("PAWFLOW_OWNER", "")
    start(recipe=recipe.model_dump_json(), job="3")
    monkeypatch.setenv("PAWFLOW_OWNER", f"{socket.gethostname()}:{os.getpid()}")
    start(recipe=recipe.model_dump_json(), job="4")
    start(recipe=recipe.model_dump_json(), job="5")
    runs = [tracking.find_pipeline_run(job) for job in ("1", "2", "3", "4", "5")]
    assert [status_of(str(run)) for run in runs] == ["KILLED", "RUNNING", "RUNNING", "RUNNING", "RUNNING"]


def test_a_run_whose_process_has_died_and_left_its_number_to_another_is_closed(recipe: Recipe) -> None:
    experiment = mlflow.create_experiment(recipe.name)
    tags = {"pawflow.job": "1", "pawflow.owner": f"{socket.gethostname()}:{os.getpid()}"}
    run = mlflow.MlflowClient().create_run(experiment, start_time=1, tags=tags).info.run_id
    start(recipe=recipe.model_dump_json(), job="2")
    assert status_of(run) == "KILLED"


def test_an_injected_run_is_adopted(recipe: Recipe, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    start(recipe=recipe.model_dump_json(), job="5")
    injected = mlflow.MlflowClient().create_run("1").info.run_id
    monkeypatch.setenv("MLFLOW_RUN_ID", injected)
    with tracking.step_run("fuse", recipe, "5"):
        tracking.log_record("fuse", Record(params={"a": 1}, metrics={"b": 2.0}), tmp_path, reused=False)
    run = mlflow.get_run(injected)
    assert run.data.params == {"fuse.a": "1"}
    assert run.data.metrics == {"b": 2.0}


def test_a_server_that_does_not_answer_is_an_error_at_once(monkeypatch: pytest.MonkeyPatch, deserted_address: str) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", deserted_address)
    with pytest.raises(PawflowError, match=f"no MLflow server answers at MLFLOW_TRACKING_URI={deserted_address}"):
        tracking_store.require_server()


def test_start_adopts_an_injected_run(recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    injected = mlflow.MlflowClient().create_run("0").info.run_id
    monkeypatch.setenv("MLFLOW_RUN_ID", injected)
    start(recipe=recipe.model_dump_json(), job="6")
    assert tracking.find_pipeline_run("6") == injected


def test_a_deleted_experiment_says_how_to_get_it_back(recipe: Recipe) -> None:
    start(recipe=recipe.model_dump_json(), job="7")
    mlflow.delete_experiment("1")
    with pytest.raises(PawflowError, match="was deleted; restore it"):
        start(recipe=recipe.model_dump_json(), job="8")


def test_an_unknown_job_has_no_run() -> None:
    assert tracking.find_pipeline_run("none") is None
    assert tracking.find_pipeline_run("") is None
    tracking.close_pipeline_run("none", succeeded=True, message="")


def test_the_load_of_the_machine_is_logged_while_asked_for(recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracking, "_SAMPLING_INTERVAL", 0.2)
    threads = threading.active_count()
    expected = {"system/cpu_utilization_percentage", "system/system_memory_usage_megabytes"}
    with tracking.step_run("train cnn", recipe, "", system_metrics=True):
        run = mlflow.active_run()
        assert run is not None
        run_id = run.info.run_id
        wait_until(lambda: expected <= set(mlflow.get_run(run_id).data.metrics))
    assert threading.active_count() <= threads
    with tracking.step_run("fuse", recipe, ""):
        run = mlflow.active_run()
    assert run is not None
    assert not mlflow.get_run(run.info.run_id).data.metrics


def test_artifacts_come_through_the_server_unless_somebody_says_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_ENABLE_PROXY_MULTIPART_UPLOAD", "true")
    tracking_store.configure()
    assert os.environ["MLFLOW_ENABLE_PROXY_MULTIPART_DOWNLOAD"] == "false"
    assert os.environ["MLFLOW_ENABLE_PROXY_MULTIPART_UPLOAD"] == "true"
