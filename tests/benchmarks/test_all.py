"""That one command runs the benchmarks, keeps what they say and what they ran on, and draws it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.__main__ import describe_environment, main, run_benchmark
from benchmarks.picture import _LIMITS, _OTHERS, draw_results

ROOT = Path(__file__).parents[2]


def test_the_environment_is_told_without_places(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAWFLOW_DATA", "/somewhere/private")
    told = describe_environment()
    assert told["cores"] >= 1
    assert told["processor"]
    assert len(told["commit"].split("-")[0]) == 40
    assert set(told["versions"]) >= {"keras", "onnxruntime", "mlflow"}
    assert told["data"] is True
    assert "private" not in json.dumps(told)


def test_a_benchmark_that_fails_is_kept_as_such() -> None:
    failed = run_benchmark(["-c", "print('half'); raise SystemExit(3)"])
    assert failed["failed"] == "exit code 3"
    assert run_benchmark(["-c", "print('table'); print('{\"ratio\": 2}')"])["figures"] == {"ratio": 2}


def test_an_unknown_benchmark_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["speed"]) == 2
    assert "data, training, serving" in capsys.readouterr().err


def test_the_picture_shows_what_there_is_and_says_of_what(tmp_path: Path) -> None:
    figures = {"ratio_cleanvision": 6.5, "ratio_to_floor": 1.3, "cpu_ratio_scratch": 5.4, "cpu_ratio_scratch_is_a_lower_bound": True}
    environment = {"processor": "a chip", "cores": 2, "date": "2026-11-21T00:00:00", "commit": "abc"}
    outcomes: dict[str, dict[str, Any]] = {"data": {"figures": figures}, "training": {"figures": figures}, "serving": {"failed": ""}}
    found = {name: {"environment": environment, **outcome} for name, outcome in outcomes.items()}
    draw_results(found, tmp_path / "picture.svg")
    first = (tmp_path / "picture.svg").read_bytes()
    assert b"training: a chip, 2 cores; 2026-11-21, abc" in first
    assert b"CleanVision" in first
    assert b"at least" in first
    assert b"LitServe" not in first


def test_every_figure_of_the_picture_is_one_that_a_benchmark_has_printed() -> None:
    results = json.loads((ROOT / "benchmarks" / "results.json").read_text())
    assert [(benchmark, key) for benchmark, key in (*_OTHERS, *_LIMITS) if key not in results[benchmark]["figures"]] == []


def test_what_was_not_run_again_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    environment = {"processor": "another chip", "cores": 64, "date": "2020-01-01T00:00:00", "commit": "abc"}
    outcomes: dict[str, dict[str, Any]] = {"data": {"figures": {"ratio_to_floor": 1.3}}, "serving": {"failed": "exit code 1"}}
    old = {name: {"environment": environment, **outcome} for name, outcome in outcomes.items()}
    (tmp_path / "results.json").write_text(json.dumps(old))
    monkeypatch.setenv("PAWFLOW_BENCHMARK_RESULTS", str(tmp_path))
    monkeypatch.setattr("benchmarks.__main__.run_benchmark", lambda arguments: {"figures": {"ratio_input": 10.0}})
    assert main(["training"]) == 0
    found = json.loads((tmp_path / "results.json").read_text())
    assert found["data"] == old["data"]
    assert found["training"]["figures"] == {"ratio_input": 10.0}
    assert b"data: another chip, 64 cores" in (tmp_path / "benchmarks.svg").read_bytes()


@pytest.mark.benchmark
def test_one_command_runs_them(tmp_path: Path) -> None:
    settings = {"PAWFLOW_BENCHMARK_SIZES": "60,90", "PAWFLOW_BENCHMARK_REPETITIONS": "1", "PAWFLOW_BENCHMARK_WITHOUT_PEERS": "1"}
    settings |= {"PAWFLOW_BENCHMARK_DRAWN": "48", "PAWFLOW_BENCHMARK_BUDGET": "5", "PAWFLOW_BENCHMARK_RESULTS": str(tmp_path)}
    environment = {**os.environ, **settings, "PYTHONPATH": str(ROOT), "PAWFLOW_DATA": str(tmp_path)}
    subprocess.run([sys.executable, "-m", "benchmarks", "data", "training"], env=environment, check=True, cwd=ROOT)
    found = json.loads((tmp_path / "results.json").read_text())
    assert "exponent_fuse" in found["data"]["figures"]
    assert "cpu_ratio_frozen" in found["training"]["figures"]
    assert found["data"]["environment"]["settings"]["PAWFLOW_BENCHMARK_SIZES"] == "60,90"
    assert b"Keras" in (tmp_path / "benchmarks.svg").read_bytes()
