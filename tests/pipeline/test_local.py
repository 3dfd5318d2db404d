from __future__ import annotations

from pathlib import Path

import pytest
from rich.console import Console as Terminal

from components.common.errors import PawflowError
from pipeline.catalog import find_recipe
from pipeline.local import run_locally

pytestmark = pytest.mark.pipeline


def test_a_failed_run_does_not_promise_that_the_same_command_continues(tmp_path: Path) -> None:
    recipe = find_recipe("sample", (f"sources.root={tmp_path}/nowhere",))
    with pytest.raises(PawflowError, match="the run did not finish: see the error above") as failed:
        run_locally(recipe, Terminal(quiet=True))
    assert "same command" not in str(failed.value), "it would fail again"
