"""The tutorial, typed as it stands: from a folder of five classes to an answer of both servers."""

from __future__ import annotations

import csv
import io
import re
import shutil
import zipfile
from pathlib import Path

import pytest

from components.common.recipe import parse_recipe
from components.fuse.layouts import read_entries
from tests.docs.clone import Clone
from tests.docs.reading import read_answers, read_blocks, read_commands

TUTORIAL = "docs/tutorial.md"


@pytest.mark.pipeline
@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl on this machine")
def test_the_tutorial_leads_to_an_answer(tmp_path: Path) -> None:
    commands = read_commands(TUTORIAL)
    with Clone(tmp_path) as clone:
        said = clone.follow(TUTORIAL, dict.fromkeys(commands, ""))
    runs = [text for command, text in said.items() if " run " in command]
    assert len(runs) == 2
    assert "Verdict: promoted" in runs[0]
    # Which of the two serves in the end is for the gate to say; that the challenger was compared is what counts here.
    assert "against the champion's" in runs[1]
    (explained,) = [text for command, text in said.items() if "data why" in command]
    (folder,) = [path.parent.name for path in tmp_path.glob("photos/*/17.bmp")]
    assert re.search(rf"^label +{folder}: given by the source", explained, re.M)
    answers = read_answers(said)
    assert len(answers) == 2
    for answer in answers:
        (prediction,) = answer["predictions"]
        assert set(prediction["probabilities"]) == {"zero", "one", "two", "three", "four"}
        assert prediction["label"] == max(prediction["probabilities"], key=prediction["probabilities"].__getitem__) == "two"
    assert answers[0]["predictions"][0]["probability"] == pytest.approx(answers[1]["predictions"][0]["probability"], abs=1e-3)


def test_the_first_recipe_has_five_lines() -> None:
    (recipe,) = [command for command in read_commands(TUTORIAL) if command.startswith("cat > digits.yaml")]
    _, *lines, _ = recipe.splitlines()
    assert len(lines) == 5
    assert parse_recipe("\n".join(lines)).model == "digits"


def test_the_table_is_one_that_the_layout_reads(tmp_path: Path) -> None:
    (table,) = [block for language, block in read_blocks(TUTORIAL) if language == "text" and block.startswith("path,")]
    images = {row["path"]: row for row in csv.DictReader(io.StringIO(table))}
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        for name, content in {"labels.csv": table, **dict.fromkeys(images, "bytes")}.items():
            archive.writestr(name, content)
    found = {entry.path: entry for entry in read_entries("csv", tmp_path / "photos.zip")}
    assert {path: (entry.label, entry.group) for path, entry in found.items()} == {
        path: (row["label"], row["group"]) for path, row in images.items()
    }
