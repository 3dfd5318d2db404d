from __future__ import annotations

import os
import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.pipeline.workspace import ROOT
from tests.reliability.campaign import Place, Report


@pytest.fixture(scope="session")
def report() -> Iterator[Report]:
    """The table of outcomes, written to `.pawflow/reliability.md` at the end, or where `PAWFLOW_RELIABILITY_REPORT` says."""
    seed = int(os.environ.get("PAWFLOW_RELIABILITY_SEED") or random.SystemRandom().randrange(10_000))
    print(f"\nseed {seed}: repeat with PAWFLOW_RELIABILITY_SEED={seed}")
    made = Report(seed)
    yield made
    path = Path(os.environ.get("PAWFLOW_RELIABILITY_REPORT") or ROOT / ".pawflow" / "reliability.md")
    made.write(path)
    print(f"\nthe table is in {path}")


@pytest.fixture(scope="session")
def undisturbed(report: Report, tmp_path_factory: pytest.TempPathFactory) -> tuple[Place, dict[str, Any]]:
    """A place with a finished run, not to be changed, and what that came to."""
    place = Place(tmp_path_factory.mktemp("undisturbed"))
    with report.row("nothing") as told:
        place.complete()
        told.append("promoted")
    return place, place.result()


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """An empty place."""
    return Place(tmp_path)


@pytest.fixture
def finished(undisturbed: tuple[Place, dict[str, Any]], tmp_path: Path) -> Place:
    """A place with a full cache and no MLflow store."""
    made = Place(tmp_path)
    shutil.copytree(undisturbed[0].home / "cache", made.home / "cache")
    return made
