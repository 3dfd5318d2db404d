"""That the benchmark runs through, on a few dozen images; what it says of these means nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.common import Cost, fit_exponent
from benchmarks.population import draw

ROOT = Path(__file__).parents[2]


@pytest.mark.benchmark
def test_the_last_line_holds_every_figure(tmp_path: Path) -> None:
    settings = {"PAWFLOW_BENCHMARK_SIZES": "60,90", "PAWFLOW_BENCHMARK_REPETITIONS": "1", "PAWFLOW_BENCHMARK_WITHOUT_PEERS": "1"}
    environment = {**os.environ, **settings, "PYTHONPATH": str(ROOT), "PAWFLOW_DATA": str(tmp_path)}
    done = subprocess.run([sys.executable, "-m", "benchmarks.data"], env=environment, capture_output=True, text=True, check=True)
    *_, said, last = done.stdout.strip().splitlines()
    figures = json.loads(last)
    assert "photos: not run" in said
    assert {"exponent_download", "exponent_fuse", "exponent_augment", "exponent_near_duplicates"} <= figures.keys()
    assert figures["ratio_to_floor"] > figures["ratio_decode_to_floor"] > 0.5
    assert 100 < figures["peak_rss_mb"] < 2000


def test_the_exponent_is_that_of_the_growth() -> None:
    sizes = [1000, 10_000, 100_000]
    assert round(fit_exponent(sizes, [Cost(size**1.5, 0, 0) for size in sizes]), 6) == 1.5


def test_a_picture_is_always_the_same_and_no_other() -> None:
    assert draw(3) == draw(3) != draw(4)
