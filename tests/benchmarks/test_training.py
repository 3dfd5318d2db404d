"""That the benchmark of training counts and compares as it says; and, when asked for, that it runs through."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.steps import run_download, run_fuse
from benchmarks.trainers import Outcome
from benchmarks.training import _FROZEN, _RECIPE, _SCRATCH, _compare
from benchmarks.workspace import DATASET, FILES, RECIPE, write_files
from components.common.dataset import Dataset

ROOT = Path(__file__).parents[2]


def test_a_ratio_is_a_bound_if_the_others_do_not_get_there_and_none_if_we_do_not() -> None:
    good, bad = _SCRATCH.target, _SCRATCH.target - 0.01
    ours = {"ours": [Outcome(10, good, 1), Outcome(14, good, 1)], "ours again": [Outcome(12, good, 1)]}
    (peer,) = _SCRATCH.peers
    reached = _compare("x", _SCRATCH, ours | {peer.name: [Outcome(60, good, 3)]})
    assert reached == {"cpu_ratio_x": 5.0, "cpu_ratio_x_is_a_lower_bound": False, "cpu_ratio_x_control": 1.0}
    assert _compare("x", _SCRATCH, ours | {peer.name: [Outcome(60, bad, 3)]})["cpu_ratio_x_is_a_lower_bound"]
    assert _compare("x", _SCRATCH, ours | {"ours": [Outcome(10, bad, 1)], peer.name: [Outcome(60, good, 3)]})["cpu_ratio_x"] is None


def test_others_get_the_files_of_the_same_photos(tmp_path: Path) -> None:
    archive = "name: dogs-vs-cats, provider: sample, num_images: 60"
    (tmp_path / RECIPE).write_text(_RECIPE.format(image_size=32, root="null", archive=archive, candidate=_FROZEN.candidate))
    for task in (run_download, run_fuse):
        task(str(tmp_path))()
    write_files(tmp_path)
    dataset = Dataset(tmp_path / DATASET)
    for split in ("train", "test"):
        written = {(file.parent.name, file.name) for file in (tmp_path / FILES / split).glob("*/*.jpg")}
        assert written == {(label, name.replace("/", "_")) for label, name in dataset.rows(split)[["label", "id"]].to_numpy()}


@pytest.mark.benchmark
def test_the_last_line_holds_every_figure(tmp_path: Path) -> None:
    settings = {"PAWFLOW_BENCHMARK_DRAWN": "48", "PAWFLOW_BENCHMARK_REPETITIONS": "1", "PAWFLOW_BENCHMARK_BUDGET": "5"}
    environment = {**os.environ, **settings, "PYTHONPATH": str(ROOT), "PAWFLOW_DATA": str(tmp_path)}
    done = subprocess.run([sys.executable, "-m", "benchmarks.training"], env=environment, capture_output=True, text=True, check=True)
    figures = json.loads(done.stdout.strip().splitlines()[-1])
    assert {"cpu_ratio_frozen", "cpu_ratio_frozen_features", "cpu_ratio_scratch", "ratio_input"} <= figures.keys()
    assert figures["ratio_input"] > 0
