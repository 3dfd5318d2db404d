"""The step as Kubeflow and the command line run it."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import mlflow
import pytest
import tensorflow as tf
from mlflow.entities import Run

from components.common.candidate import Candidate
from components.common.dataset import Dataset
from components.common.errors import PawflowError
from components.common.outcomes import find_outcomes
from components.common.recipe import Recipe
from components.common.store import home
from components.train import epochs
from components.train.checkpoints import Progress
from components.train.run import run
from tests.conftest import deliver


def steps_of(ended: Run, name: str) -> list[int]:
    return sorted(point.step for point in mlflow.MlflowClient().get_metric_history(ended.info.run_id, name))


def test_a_stopped_step_continues_and_leaves_no_checkpoints(
    dataset: Dataset, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    options = {"conv_layers": 2, "layer_size": 4}
    names = ("one", "two")
    candidates = tuple(Candidate(name=name, architecture="simple_cnn", mode="scratch", options=options, epochs=2) for name in names)
    folder = deliver(dataset, tmp_path / "dataset")
    text = recipe.model_copy(update={"candidates": candidates}).model_dump_json()

    def train(out: str, recipe: str = text, views: Path = folder) -> None:
        run(recipe=recipe, candidate="two", dataset=folder, views=views, out=tmp_path / out)

    report = epochs._report

    def report_and_stop(title: str, progress: Progress, seconds_left: float) -> None:
        report(title, progress, seconds_left)
        os.kill(os.getpid(), signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr(epochs, "_report", report_and_stop)
        with pytest.raises(PawflowError, match="stopped by a signal in scratch epoch 1/2"):
            train("stopped")
    assert list((home() / "checkpoints").rglob("*.npz"))
    train("out")
    told = capsys.readouterr().out
    assert "train two (2 of 2)| continuing at scratch epoch 2, batch 1" in told
    assert not list((home() / "checkpoints").rglob("*.npz"))
    newest, stopped = mlflow.search_runs(search_all_experiments=True, output_format="list")
    assert newest.data.params["train.resumed"] == "1"
    assert newest.data.metrics["train.gpu_seconds"] == 0
    # An epoch is in MLflow once it is over; the run that ends the training has them all, and each once.
    assert [steps_of(ended, "val_loss") for ended in (stopped, newest)] == [[1], [1, 2]]
    # Both epochs are in TensorBoard's logs, also the one before the stop.
    assert [path.name for path in sorted((tmp_path / "out" / "tensorboard").iterdir())] == ["train", "validation"]
    assert len(json.loads((tmp_path / "out" / "history.json").read_text())["val_loss"]) == 2

    views = json.loads(text) | {"augment": json.loads(text)["augment"] | {"views": 3}}
    train("again", json.dumps(views), tmp_path / "out")
    assert "| reused in" in capsys.readouterr().out, "stored views are for frozen candidates"


@pytest.mark.parametrize("work", ["fit", "calibrate", "export_and_compare"])
def test_too_little_memory_is_a_failure_of_the_candidate(
    work: str, dataset: Dataset, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def exhaust(*arguments: object) -> None:
        raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor")

    monkeypatch.setattr(f"components.train.train.{work}", exhaust)
    candidate = Candidate(name="one", architecture="simple_cnn", mode="scratch", epochs=1)
    text = recipe.model_copy(update={"candidates": (candidate,)}).model_dump_json()
    folder = deliver(dataset, tmp_path / "dataset")
    with pytest.raises(PawflowError, match=r"'one' needs more memory than there is; lower its batch_size \(now 32\)"):
        run(recipe=text, candidate="one", dataset=folder, views=folder, out=tmp_path / "out")


def test_a_store_that_is_away_is_no_failure_of_the_candidate(
    dataset: Dataset, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, deserted_address: str
) -> None:
    candidate = Candidate(name="one", architecture="simple_cnn", mode="scratch", epochs=1)
    folder = deliver(dataset, tmp_path / "dataset")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", deserted_address)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "some-key")
    monkeypatch.setenv("PAWFLOW_CHECKPOINTS", "s3://bucket/checkpoints")
    text = recipe.model_copy(update={"candidates": (candidate,)}).model_dump_json()
    # With a job, a failed candidate would be delivered as such, and nobody would try again.
    with pytest.raises(PawflowError, match="checkpoints cannot be read from s3://bucket/checkpoints"):
        run(recipe=text, candidate="one", dataset=folder, views=folder, out=tmp_path / "out", job="some-job")
    assert not (tmp_path / "out" / "failed.json").exists()


def test_a_diverged_candidate_is_a_result_that_leaves_no_checkpoint(
    dataset: Dataset, recipe: Recipe, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # The head learns for an epoch, of which there is a checkpoint; the body then goes astray.
    wild = recipe.candidates[2].model_copy(update={"name": "wild", "fine_tune_rate": 1e38})
    folder, out = deliver(dataset, tmp_path / "dataset"), tmp_path / "out"
    text = recipe.model_copy(update={"candidates": (wild, recipe.candidates[0])}).model_dump_json()

    def train(job: str, candidate: str = "wild") -> None:
        run(recipe=text, candidate=candidate, dataset=folder, views=folder, out=out, job=job)

    train("some-job")
    told = capsys.readouterr().out
    assert "head epoch 1/1: loss" in told
    assert "failed: candidate 'wild' diverged: its loss is no longer a number; lower its fine_tune_rate (now 1e+38)" in told
    assert not list((home() / "checkpoints").rglob("*.npz"))
    assert {path.name for path in out.iterdir()} == {"artifact.json", "candidate.json", "failed.json"}
    with pytest.raises(PawflowError, match="no candidate could be trained. wild failed: .*diverged"):
        find_outcomes([out], recipe.model_copy(update={"candidates": (wild,)}))
    # By hand nobody goes on without it.
    with pytest.raises(PawflowError, match="diverged"):
        train("")
    assert "head epoch 1/1: loss" in capsys.readouterr().out, "it starts again"
    # What succeeds takes the place of the failure.
    train("some-job", "cnn")
    assert not (out / "failed.json").exists()
