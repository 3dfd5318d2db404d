from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from components.common.dataset import SPLITS, Dataset
from components.common.errors import PawflowError
from components.evaluate.suspects import SUSPECTS_FILE, find_suspects
from pipeline.data import commands
from pipeline.local import COMMAND_FILE


def call(*arguments: str) -> str:
    result = CliRunner().invoke(commands, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.fixture
def run(dataset: Dataset, workspace: Path) -> Path:
    """A newest local run with a dataset, between an older one and a newer one that has none."""
    runs = workspace / "pawflow" / "runs"
    for name in ("20250101-000000-old-1", "20250301-000000-failed-3"):
        (runs / name).mkdir(parents=True)
    folder = runs / "20250201-000000-tiny-2" / "training" / "fuse" / "dataset"
    shutil.copytree(dataset.folder, folder)
    shutil.copytree(dataset.folder, runs / "20250101-000000-old-1" / "training" / "fuse" / "dataset")
    return folder


def test_why_is_asked_of_the_newest_run(run: Path) -> None:
    name = "train.zip/train/cat.7.jpg"
    said = call("why", name)
    assert f"dogs-vs-cats/{name}" in said
    assert "the hash of seed 2" in said
    facts = json.loads(call("why", name, "--json"))
    assert Path(facts["dataset"]["folder"]) == run
    assert facts["status"] == "used"


def test_why_of_a_folder(dataset: Dataset) -> None:
    rows = dataset.manifest.dropna(subset=["breed", "split"])
    said = call("why", str(rows["id"].iloc[0]), "--dataset", str(dataset.folder))
    assert f"breed {rows['breed'].iloc[0]}" in said
    assert "other image" in said


def test_without_a_run_there_is_a_way_out() -> None:
    with pytest.raises(PawflowError, match=r"no run in .*runs has a dataset; .*--dataset"):
        call("why", "cat.7.jpg")


def test_the_report_is_written_outside_the_dataset(run: Path, dataset: Dataset, workspace: Path) -> None:
    path = workspace / "pawflow" / "reports" / f"tiny-{dataset.digest[:12]}.html"
    assert call("report", "--no-open") == f"wrote {path}\n"
    assert path.read_bytes() == (run / "report.html").read_bytes()
    call("report", "--dataset", str(run), "--out", "here.html")
    assert (workspace / "here.html").read_bytes() == path.read_bytes()


@pytest.fixture
def evaluation(run: Path, dataset: Dataset) -> Path:
    """The evaluation of the same run: a network that calls every fourth image a dog."""
    folder = run.parents[1] / "evaluate" / "evaluation"
    (run.parents[2] / COMMAND_FILE).write_text("python -m pipeline run --recipe my/tiny.yaml seed=5")
    folder.mkdir(parents=True)
    rows = pd.concat([dataset.rows(split) for split in SPLITS])
    dog = np.where(np.arange(len(rows)) % 4 == 0, 0.9, 0.1)
    predicted = pd.DataFrame({"probability_cat": 1 - dog, "probability_dog": dog}, index=pd.Index(rows["id"]))
    find_suspects(dataset, predicted).to_csv(folder / SUSPECTS_FILE, index=False)
    counts = {"candidate": "lite", "n": len(rows), "called_otherwise": 51, "confident": 4, "known": 3, "both": 2, "undecided": 52}
    (folder / "metrics.json").write_text(json.dumps({"suspects": counts, "candidates": {"lite": {}}}))
    return folder


def test_the_page_of_suspects_is_made_of_the_newest_run(evaluation: Path, dataset: Dataset, workspace: Path) -> None:
    said = call("suspects")
    path = workspace / "pawflow" / "reports" / f"tiny-{dataset.digest[:12]}-suspects.html"
    assert "lite, trained without them, calls 51 of" in said
    assert f"wrote {path}\n" in said
    assert "and run: python -m pipeline run --recipe my/tiny.yaml seed=5 decisions=decisions.yaml\n" in said
    assert path.read_text().count('<article class="question"') > 10
    (evaluation.parents[2] / COMMAND_FILE).unlink()
    assert "and run: python -m pipeline run --recipe tiny decisions=decisions.yaml\n" in call("suspects")
    (workspace / "flagged").mkdir()
    assert "0 photos were flagged" in call("suspects", "--flagged", "flagged", "--out", "here.html")


def test_suspects_of_a_recipe_that_has_not_run(evaluation: Path) -> None:
    with pytest.raises(PawflowError, match=r"no run of recipe cifar10 in .*has been evaluated; .*run --recipe cifar10"):
        call("suspects", "--recipe", "cifar10")


def test_suspects_without_any_run() -> None:
    with pytest.raises(PawflowError, match=r"no run in .*has been evaluated; start one: make run"):
        call("suspects")


@pytest.mark.parametrize(
    ("summary", "message"),
    [
        ({"suspects": None, "candidates": {"cnn": {}}}, r"no candidate of this run \(cnn\) is `frozen`.*mode: frozen"),
        ({"candidates": {}}, "an earlier version"),
    ],
)
def test_a_run_that_knows_no_suspects_is_explained(summary: dict[str, object], message: str, evaluation: Path) -> None:
    (evaluation / "metrics.json").write_text(json.dumps(summary))
    with pytest.raises(PawflowError, match=message):
        call("suspects")
