"""What is made of the code says what the code says: the reference of recipes and of the command line, and the picture of the flow."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.processes import ROOT


@pytest.mark.parametrize(("script", "made"), [("recipes", "recipes.md"), ("cli", "cli.md"), ("flow", "pictures/flow.svg")])
def test_it_is_up_to_date(script: str, made: str) -> None:
    command = [sys.executable, str(ROOT / "docs/site" / f"{script}.py")]
    printed = subprocess.run(command, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=True).stdout
    assert printed == (ROOT / "docs" / made).read_text(), "`make reference` writes it anew"


def test_every_field_says_what_it_means() -> None:
    rows = [line for line in (ROOT / "docs/recipes.md").read_text().splitlines() if line.startswith("| `")]
    assert len(rows) > 100
    assert not [row for row in rows if row.endswith(("| None |", "|  |"))]


def test_the_picture_shows_every_way_that_data_takes() -> None:
    drawn = (ROOT / "docs/pictures/flow.svg").read_text()
    for word in ("start", "download", "fuse", "augment", "train", "evaluate", "register", "promote", "raw", "dataset", "views", "model"):
        assert f">{word}<" in drawn
    assert "finish: whatever happens" in drawn
