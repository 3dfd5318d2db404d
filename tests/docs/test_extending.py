"""The commits of docs/extending.md apply to the project as it is, and what they add works."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.reading import read_blocks
from tests.processes import ROOT

CONVENTIONS = (
    "tests/conventions/test_layout.py",
    "tests/conventions/test_extensions.py",
    "tests/conventions/test_recipes.py::test_a_recipe_loads_and_explains_itself",
    "tests/conventions/test_recipes.py::test_a_smoke_run_is_small_and_apart",
    "tests/components/common/test_metrics.py",
)
USE = """
import contextlib
import io
import runpy
import zipfile
from pathlib import Path
from components.common.recipe import parse_recipe
from components.download.sources import Request, find_provider
from components.train.models import resolve_options
from pipeline.catalog import find_recipe

Path("fetched").mkdir()
with zipfile.ZipFile("mine.zip", "w") as archive:
    archive.writestr("cat/1.jpg", b"photo")
recipe = parse_recipe("name: x\\nsources: {archives: [{name: mine, provider: file, path: mine.zip}]}\\nselect: top_two")
request = Request(recipe.sources.archives[0], None, 0)
provider = find_provider(request)
assert len(provider.identify(request)["sha256"]) == 64
assert provider.fetch(request, Path("fetched")).file == "mine.zip"
assert zipfile.ZipFile("fetched/mine.zip").namelist() == ["cat/1.jpg"]
narrow, wide = find_recipe("patches").candidates
assert [resolve_options(one)["layer_size"] for one in (narrow, wide)] == [16, 64]
with contextlib.redirect_stdout(io.StringIO()) as page:
    runpy.run_path("docs/site/recipes.py", run_name="__main__")
assert "### `options` of `patches`" in page.getvalue()
from components.train.network import build_network
assert build_network(narrow, 64, 5).output_shape == (None, 5)
"""


@pytest.mark.skipif(shutil.which("git") is None, reason="no git on this machine")
def test_the_commits_apply_and_what_they_add_works(tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    for folder in ("benchmarks", "components", "docs", "infra", "pipeline", "serving", "tests"):
        shutil.copytree(ROOT / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__", "*.png"))
    for name in ("Makefile", "pyproject.toml", "README.md", "CONTRIBUTING.md", "MLproject"):
        shutil.copyfile(ROOT / name, copy / name)
    shutil.copytree(ROOT / ".ci", copy / ".ci")
    commits = [block for language, block in read_blocks("docs/extending.md") if language == "diff"]
    assert len(commits) == 4
    # In a folder of another repository, git would pass over files that this does not have.
    alone = {**os.environ, "GIT_CEILING_DIRECTORIES": str(tmp_path)}
    for commit in commits:
        subprocess.run(["git", "apply", "-"], input=commit, text=True, cwd=copy, env=alone, check=True)
    environment = {**os.environ, "PYTHONPATH": str(copy)}
    for command in (["-m", "pytest", "-q", "-p", "no:cacheprovider", *CONVENTIONS], ["-c", USE]):
        done = subprocess.run([sys.executable, *command], cwd=copy, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
