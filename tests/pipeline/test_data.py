from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from components.common.dataset import Dataset
from components.common.errors import PawflowError
from pipeline.data import commands


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
