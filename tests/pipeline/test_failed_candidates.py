"""Candidates that cannot be trained, in whole runs: the others go on, nobody is dropped in silence, and only if all fail the run does."""

from __future__ import annotations

import json
import re
from pathlib import Path

import mlflow
import pandas as pd
import pytest

from tests.conftest import SMALL_DATA
from tests.pipeline.workspace import Workspace

pytestmark = pytest.mark.pipeline

RECIPE = (
    SMALL_DATA
    + """
name: doubtful
model: doubtful
augment: {views: 0}
candidates:
  - {name: wild, architecture: simple_cnn, mode: scratch, epochs: 3, learning_rate: 1.0e+30, options: {conv_layers: 2, layer_size: 8}}
  - {name: good, architecture: simple_cnn, mode: scratch, epochs: 2, options: {conv_layers: 2, layer_size: 8}}
  - {name: lost, architecture: efficientnet_lite0, mode: fine_tune, unfreeze: stage9}
  - {name: bare, architecture: vgg16, mode: frozen}
gate: {floor: 0.0, min_images: 5, max_log_loss: 100.0}
"""
)
REASONS = {
    "wild": "candidate 'wild' diverged",
    "lost": "candidate 'lost' unfreezes from 'stage9', but no layer starts so",
    "bare": "are not the published ones",
}


@pytest.fixture(scope="module")
def workspace_of_runs(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """With a recipe of four candidates, three of which fail, and with weights that are not the published ones."""
    workspace = Workspace(tmp_path_factory.mktemp("workspace"), "doubtful")
    (workspace.folder / "doubtful.yaml").write_text(RECIPE)
    weights = workspace.folder / "weights"
    weights.mkdir()
    (weights / "vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5").write_bytes(b"something else")
    workspace.environment["PAWFLOW_WEIGHTS"] = str(weights)
    return workspace


def runs_by_name(workspace: Workspace) -> dict[str, mlflow.entities.Run]:
    """The newest run of each name; that of the pipeline as "pipeline"."""
    experiment = workspace.client.get_experiment_by_name("doubtful")
    assert experiment is not None
    runs = workspace.client.search_runs([experiment.experiment_id], order_by=["attributes.start_time ASC"])
    return {"pipeline" if "pawflow.job" in run.data.tags else str(run.info.run_name): run for run in runs}


def newest(workspace: Workspace, name: str) -> Path:
    """A file of the newest run's artifacts."""
    folder = max((workspace.folder / ".pawflow" / "runs").iterdir())
    (found,) = folder.rglob(name)
    return found


@pytest.fixture(scope="module")
def told(workspace_of_runs: Workspace) -> str:
    """What a run with three failing candidates printed."""
    result = workspace_of_runs.run("pipeline", "run", "--recipe", "doubtful.yaml")
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout + result.stderr


def test_the_run_ends_well_and_names_each_with_its_reason(told: str, workspace_of_runs: Workspace) -> None:
    workspace = workspace_of_runs
    assert "Traceback" not in told
    assert workspace.alias("champion") == "1"
    page = newest(workspace, "leaderboard.csv").with_name("report.html").read_text().replace("&#39;", "'")
    board = pd.read_csv(newest(workspace, "leaderboard.csv"), index_col="candidate")
    evaluation, verdict = (json.loads(newest(workspace, name).read_text()) for name in ("metrics.json", "verdict.json"))
    card = str(workspace.client.get_model_version("doubtful", "1").description)
    assert list(board.index) == ["good", *REASONS]
    assert list(evaluation["candidates"]) == ["good"]
    assert "Without wild, lost, bare, which could not be trained." in page
    for name, reason in REASONS.items():
        assert f"{name} failed: " in told.split("Verdict:")[0].split("Headline:")[0]
        assert told.count(reason) >= 2, "while it runs, and in the summary"
        assert reason in str(board.loc[name, "failed"])
        assert reason in evaluation["failed"][name] == verdict["failed"][name]
        assert reason in page
        assert f"Candidate `{name}` failed: " in card


def test_mlflow_has_the_reasons(told: str, workspace_of_runs: Workspace) -> None:
    runs = runs_by_name(workspace_of_runs)
    for name, reason in REASONS.items():
        run = runs[f"train {name}"]
        assert run.info.status == "FAILED"
        assert reason in run.data.tags["pawflow.failed"]
        assert reason in run.data.tags["mlflow.note.content"]
        assert reason in runs["pipeline"].data.tags["pawflow.failed_candidates"]
    for name in ("pipeline", "train good", "evaluate", "register", "promote"):
        assert runs[name].info.status == "FINISHED"


def test_a_second_run_tries_the_failed_ones_again_and_reuses_the_other(told: str, workspace_of_runs: Workspace) -> None:
    again = workspace_of_runs.run("pipeline", "run", "--recipe", "doubtful.yaml").stdout
    assert "continuing" not in again, "a diverged one starts again"
    assert re.search(r"train good \(2 of 4\) +reused in", again)
    assert again.count("The other candidates go on") == 3


def test_if_all_fail_the_run_does_with_all_the_reasons(told: str, workspace_of_runs: Workspace) -> None:
    result = workspace_of_runs.run("pipeline", "run", "--recipe", "doubtful.yaml", "candidates.1.learning_rate=1.0e+30")
    output = result.stdout + result.stderr
    assert result.returncode == 2
    assert "Traceback" not in output
    assert "ERROR:root" not in output, "the runner's own words are in the log"
    (line,) = [line for line in output.splitlines() if "error: no candidate could be trained." in line]
    for name, reason in {**REASONS, "good": "candidate 'good' diverged"}.items():
        assert f"{name} failed: " in line
        assert reason in line
    assert runs_by_name(workspace_of_runs)["pipeline"].info.status == "FAILED"
    assert not list((workspace_of_runs.folder / ".pawflow").glob("checkpoints/*/*"))
