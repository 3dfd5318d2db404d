from __future__ import annotations

import os
from pathlib import Path

import psutil
import pytest

from serving import cores
from serving.cores import num_cores


@pytest.mark.parametrize(
    ("quota", "expected"), [("max 100000", 8), ("200000 100000", 2), ("150000 100000", 2), ("50000 100000", 1), ("1600000 100000", 8)]
)
def test_a_limit_of_the_container_counts(quota: str, expected: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(8)), raising=False)
    (tmp_path / "cpu.max").write_text(f"{quota}\n")
    monkeypatch.setattr(cores, "_QUOTA", tmp_path / "cpu.max")
    assert num_cores() == expected


def test_a_process_that_may_use_one_core_has_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(cores, "_QUOTA", tmp_path / "none")
    process = psutil.Process()
    before = process.cpu_affinity()
    try:
        process.cpu_affinity(before[:1])
        assert num_cores() == 1
    finally:
        process.cpu_affinity(before)
