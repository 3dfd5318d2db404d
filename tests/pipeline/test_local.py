from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from rich.console import Console as Terminal

from components.common.errors import PawflowError
from pipeline.catalog import find_recipe
from pipeline.local import run_locally

pytestmark = pytest.mark.pipeline


def test_a_failed_run_promises_nothing_and_leaves_its_caller_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    recipe = find_recipe("sample", (f"sources.root={tmp_path}/nowhere",))
    with pytest.raises(PawflowError, match="the run did not finish: see the error above") as failed:
        run_locally(recipe, Terminal(quiet=True))
    assert "same command" not in str(failed.value), "it would fail again"
    assert os.environ["TMPDIR"] == str(tmp_path)
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == handlers
