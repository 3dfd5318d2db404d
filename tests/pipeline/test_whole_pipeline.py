"""The shipped command under the real local runner: run, run again, run on damaged data, predict, serve, `mlflow run`."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from components.download.sources.sample import write_archive
from components.register.endpoint import find_free_port
from tests.pipeline.workspace import Workspace
from tests.processes import ROOT, running_server, wait_until

pytestmark = pytest.mark.pipeline

MODEL = "sample-smoke"


def folders_in(folder: Path) -> list[Path]:
    """What tasks would leave there; a library keeps a small file of its own."""
    return [path for path in folder.iterdir() if path.is_dir()]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Workspace, str]:
    """A workspace in which the sample has been run once, and what that printed."""
    workspace = Workspace(tmp_path_factory.mktemp("workspace"), MODEL)
    temporary = tmp_path_factory.mktemp("temporary")
    workspace.environment["TMPDIR"] = str(temporary)
    result = workspace.run("pipeline", "run", "--recipe", "sample", "--smoke")
    assert result.returncode == 0, result.stdout
    assert not folders_in(temporary)
    return workspace, result.stdout + result.stderr


def test_the_output_tells_the_story_and_nothing_else(finished: tuple[Workspace, str]) -> None:
    _, output = finished
    for expected in ("download dogs-vs-cats", "fuse", "lite0_frozen", "Verdict: promoted", f"make serve MODEL={MODEL}", "generated images"):
        assert expected in output
    for noise in ("Warning", "oneDNN", "KFP Executor", "alembic", "INFO"):
        assert noise not in output


def test_the_labels_in_doubt_come_with_the_command_that_was_typed(finished: tuple[Workspace, str]) -> None:
    result = finished[0].run("pipeline", "data", "suspects")
    assert result.returncode == 0
    assert result.stdout.endswith(" and run: .venv/bin/python -m pipeline run --recipe sample --smoke decisions=decisions.yaml\n")


def test_mlflow_holds_the_run_tree(finished: tuple[Workspace, str]) -> None:
    client = finished[0].client
    experiment = client.get_experiment_by_name("sample")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    (parent,) = [run for run in runs if "pawflow.job" in run.data.tags]
    children = {run.info.run_name: run for run in runs if run.data.tags.get("mlflow.parentRunId") == parent.info.run_id}
    assert set(children) == {
        *("download dogs-vs-cats", "download dog-breed-identification", "fuse", "augment"),
        *("train simple_cnn", "train lite0_frozen", "evaluate", "register", "promote"),
    }
    assert {run.info.status for run in runs} == {"FINISHED"}
    assert {"headline.accuracy", "test.accuracy"} <= set(parent.data.metrics)
    # After one epoch on so few images, chance has its part in which of the two it is.
    winner = parent.data.tags["pawflow.candidate"]
    assert winner in ("simple_cnn", "lite0_frozen")
    assert f"**Winner**: {winner}, now version 1 of sample-smoke" in parent.data.tags["mlflow.note.content"]
    candidate = children["train lite0_frozen"]
    assert candidate.data.params["train.architecture"] == "efficientnet_lite0"
    assert {"test.accuracy", "validation.log_loss", "train.cpu_seconds"} <= set(candidate.data.metrics)
    assert candidate.inputs is not None
    assert candidate.inputs.dataset_inputs
    assert "suspects.undecided" in children["evaluate"].data.metrics
    assert {"report.html", "suspects.html", "suspects.csv"} <= {
        item.path for item in client.list_artifacts(children["evaluate"].info.run_id)
    }
    artifacts = {item.path for item in client.list_artifacts(children["evaluate"].info.run_id, "figures/lite0_frozen")}
    assert "figures/lite0_frozen/confusion_matrix.png" in artifacts


def test_tensorboard_shows_each_candidate_by_its_name(finished: tuple[Workspace, str]) -> None:
    workspace, _ = finished
    shown = {"lite0_frozen/train", "simple_cnn/train", "simple_cnn/validation"}
    command = [sys.executable, "-m", "pipeline", "tensorboard", "--port", "0"]
    with running_server(command, workspace.folder / "tensorboard.log", workspace.environment) as server:
        # It reads the files after it has begun to answer.
        wait_until(lambda: set(requests.get(f"{server.address}/data/runs", timeout=30).json()) == shown)
    refused = workspace.run("pipeline", "tensorboard", "no'run", "--port", "0")
    assert refused.returncode == 2
    assert "MLflow has no run no'run" in refused.stderr


def test_the_version_carries_its_verdict(finished: tuple[Workspace, str]) -> None:
    workspace, _ = finished
    version = workspace.client.get_model_version_by_alias(MODEL, "champion")
    assert "promoted" in str(version.description)
    assert {f"pawflow.{name}" for name in ("dataset_digest", "git_commit", "recipe", "candidate", "promote", "verdict")} <= set(
        version.tags
    )


def test_predict_answers_for_a_photo_and_names_a_bad_file(finished: tuple[Workspace, str]) -> None:
    workspace, _ = finished
    photo, text = workspace.folder / "photo.jpg", workspace.folder / "text.jpg"
    photo.write_bytes(read_photo())
    text.write_text("camera shy")
    result = workspace.run("pipeline", "predict", str(photo), str(text), "--json")
    assert result.returncode == 2
    answer, error = map(json.loads, result.stdout.splitlines())
    assert answer["label"] in ("cat", "dog")
    assert answer["model_version"] == "1"
    assert "not an image" in error["error"]
    assert "sample-smoke has learnt from drawings only" in result.stderr


def test_predict_writes_a_submission_for_an_archive(finished: tuple[Workspace, str]) -> None:
    workspace, _ = finished
    photo = read_photo()
    with zipfile.ZipFile(workspace.folder / "test1.zip", "w") as archive:
        for number in (1, 2, 3):
            archive.writestr(f"test1/{number}.jpg", photo if number < 3 else b"no photo")
    result = workspace.run("pipeline", "predict", "test1.zip", "--csv", "submission.csv")
    assert result.returncode == 2, "the third is no photo"
    assert "test1/3.jpg: error" in result.stderr
    header, *rows = (workspace.folder / "submission.csv").read_text().splitlines()
    assert header == "id,label"
    assert [row.split(",")[0] for row in rows] == ["1", "2"]
    assert {row.split(",")[1] for row in rows} <= {"0", "1"}


def read_photo() -> bytes:
    path = Path("drawn.zip")
    write_archive("dogs-vs-cats", path, num_images=24, seed=5)
    with zipfile.ZipFile(path) as outer, outer.open("train.zip") as inner, zipfile.ZipFile(inner) as train:
        return train.read("train/cat.1.jpg")


@pytest.fixture
def endpoint(finished: tuple[Workspace, str]) -> Iterator[str]:
    """`mlflow models serve`, exactly as the README starts it."""
    workspace, _ = finished
    # To MLflow port 0 is none at all, and uvicorn then takes 8000, which another may have.
    command = ["mlflow", "models", "serve", "-m", f"models:/{MODEL}@champion", "--env-manager", "local", "-p", str(find_free_port())]
    with running_server(command, workspace.folder / "server.log", workspace.environment) as server:
        yield f"{server.address}/invocations"


def test_the_endpoint_keeps_its_contract(endpoint: str, finished: tuple[Workspace, str]) -> None:
    def post(value: object) -> requests.Response:
        return requests.post(endpoint, json={"dataframe_split": {"columns": ["image"], "data": [[value]]}}, timeout=30)

    response = post(base64.b64encode(read_photo()).decode())
    assert response.status_code == 200, response.text
    (answer,) = response.json()["predictions"]
    assert set(answer) == {"label", "probability", "probabilities", "not_sure", "model_version", "dataset_digest"}
    assert set(answer["probabilities"]) == {"cat", "dog"}
    assert sum(answer["probabilities"].values()) == pytest.approx(1.0, abs=1e-5)
    assert answer["label"] == max(answer["probabilities"], key=answer["probabilities"].get)
    assert answer["model_version"] == "1"

    encoded = base64.b64encode(read_photo()).decode()
    for body in ({"dataframe_records": [{"image": encoded}]}, {"inputs": {"image": [encoded]}}, {"instances": [{"image": encoded}]}):
        assert requests.post(endpoint, json=body, timeout=30).json()["predictions"] == [answer], body

    # The same photo through the command line gives the same answer.
    photo = finished[0].folder / "photo.jpg"
    photo.write_bytes(read_photo())
    told = json.loads(finished[0].run("pipeline", "predict", str(photo), "--json").stdout)
    assert told["probabilities"] == pytest.approx(answer["probabilities"], abs=1e-6)

    for bad in ("@@@ not base64 @@@", base64.b64encode(b"camera shy").decode(), "", "YQ", 17, None, ["x"]):
        refused = post(bad)
        assert refused.status_code == 400, (bad, refused.text)
        assert "Traceback" not in refused.text
        assert "stack_trace" not in refused.text


def test_ctrl_c_ends_the_endpoint_without_a_word_of_python(finished: tuple[Workspace, str]) -> None:
    workspace, log = finished[0], finished[0].folder / "serve.log"
    command = [sys.executable, "-m", "pipeline", "serve", "--model", MODEL, "--port", str(find_free_port())]
    with running_server(command, log, workspace.environment) as server:
        # As a terminal does: to all that belong to the command.
        os.killpg(server.process.pid, signal.SIGINT)
        assert server.process.wait(60) == 0
        with pytest.raises(requests.ConnectionError):
            requests.get(server.address, timeout=5)
    assert "Traceback" not in log.read_text()


def test_mlflow_run_runs_the_whole_pipeline_in_a_tree_of_its_own(finished: tuple[Workspace, str]) -> None:
    workspace, _ = finished
    # Everything but the first step fails fast: the damaged root is found before any work, and that is all that is needed here.
    parameters = ["-P", "recipe=sample", "-P", f"overrides=sources.root={workspace.folder}/nowhere seed=1"]
    result = workspace.run("mlflow", "run", str(ROOT), "--env-manager", "local", *parameters)
    assert result.returncode != 0
    assert "nowhere does not hold the archive of source 'dogs-vs-cats'" in result.stdout + result.stderr
    experiment = workspace.client.get_experiment_by_name("sample")
    assert experiment is not None
    newest = workspace.client.search_runs([experiment.experiment_id], "tags.`pawflow.job` != ''", max_results=1)[0]
    assert newest.info.status == "FAILED"


def test_mlflow_run_enters_through_the_project_file(finished: tuple[Workspace, str]) -> None:
    workspace, _ = finished
    recipe = ROOT / "pipeline" / "recipes" / "sample.yaml"
    out = workspace.folder / "by-hand"
    parameters = {"recipe": str(recipe), "source": "dogs-vs-cats", "out": str(out)}
    options = [part for name, value in parameters.items() for part in ("-P", f"{name}={value}")]
    result = workspace.run("mlflow", "run", str(ROOT), "--env-manager", "local", "-e", "download", *options)
    assert result.returncode == 0, result.stderr
    assert json.loads((out / "source.json").read_text())["generated"] is True


def test_a_second_run_reuses_everything_and_a_tie_keeps_the_champion(finished: tuple[Workspace, str]) -> None:
    workspace, _ = finished
    result = workspace.run("pipeline", "run", "--recipe", "sample", "--smoke", "--json")
    assert result.returncode == 0
    assert result.stderr.count("reused in") == 7
    assert "Verdict: kept the champion" in result.stderr
    said = json.loads(result.stdout)
    assert (said["model"], said["version"], said["promote"]) == (MODEL, "2", False)
    assert Path(said["folder"]).is_dir()
    assert (workspace.alias("champion"), workspace.alias("challenger")) == ("1", "2")


def test_a_damaged_archive_ends_with_one_message_and_the_champion_stays(finished: tuple[Workspace, str]) -> None:
    workspace, _ = finished
    data = workspace.folder / "data"
    data.mkdir()
    for name in ("dogs-vs-cats", "dog-breed-identification"):
        write_archive(name, data / f"{name}.zip", num_images=48, seed=1)
    damaged = bytearray((data / "dogs-vs-cats.zip").read_bytes())
    damaged[len(damaged) // 2] ^= 0xFF
    (data / "dogs-vs-cats.zip").write_bytes(damaged)
    before = workspace.alias("champion")
    result = workspace.run("pipeline", "run", "--recipe", "sample", "--smoke", "--quiet", f"sources.root={data}")
    assert result.returncode == 2
    output = result.stdout + result.stderr
    assert "done in" not in output
    assert output.count("is not a readable zip or tar archive") == 1
    assert "fetch it again" in output
    assert "Traceback" not in output
    assert workspace.alias("champion") == before
    experiment = workspace.client.get_experiment_by_name("sample")
    assert experiment is not None
    runs = workspace.client.search_runs([experiment.experiment_id])
    assert {run.info.status for run in runs} == {"FINISHED", "FAILED"}, "the exit handler closes the parent run"


def test_a_stopped_run_ends_at_once_and_says_how_to_continue(finished: tuple[Workspace, str], tmp_path: Path) -> None:
    workspace, environment = finished[0], {**finished[0].environment, "TMPDIR": str(tmp_path)}
    # Another seed, so that there is work to stop.
    command = [sys.executable, "-m", "pipeline", "run", "--recipe", "sample", "seed=7"]
    process = subprocess.Popen(command, cwd=workspace.folder, env=environment, start_new_session=True, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for line in process.stdout:
        if "drawing" in line:
            break
    os.killpg(process.pid, signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGINT
    assert not folders_in(tmp_path)
    assert output.strip().endswith("to continue: .venv/bin/python -m pipeline run --recipe sample seed=7")
