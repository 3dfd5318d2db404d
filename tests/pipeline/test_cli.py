from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from components.common.errors import PawflowError
from pipeline.catalog import find_recipe
from pipeline.versions import require_kfp

ROOT = Path(__file__).parents[2]


def run_cli(*arguments: str, module: str = "pipeline") -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "COLUMNS": "200"}
    return subprocess.run([sys.executable, "-m", module, *arguments], capture_output=True, text=True, timeout=120, env=environment)


def test_an_older_kfp_is_refused() -> None:
    require_kfp("2.17.0")
    require_kfp("2.18.1")
    with pytest.raises(PawflowError, match=r"kfp 2\.16\.1 is installed, but pawflow needs 2\.17\.0 or newer"):
        require_kfp("2.16.1")


@pytest.mark.parametrize(
    ("name", "overrides", "message"),
    [
        ("fusoin", (), "did you mean 'fusion'"),
        ("zebra", (), "Known recipes: .*fusion, .*sample"),
        ("sample", ("sources.archives.0.provider=ftp",), "known ones: local, sample"),
        ("sample", ("sources.archives.0.layout=zoo",), "known ones: dogs_vs_cats, dog_breeds"),
        ("sample", ("candidates.0.architecture=vgg99",), "known ones: simple_cnn, .*efficientnet_lite0"),
    ],
)
def test_unknown_names_fail_before_anything_runs(name: str, overrides: tuple[str, ...], message: str) -> None:
    with pytest.raises(PawflowError, match=message):
        find_recipe(name, overrides)


def test_user_errors_are_one_message_and_exit_code_2() -> None:
    result = run_cli("run", "--recipe", "own_folder", "sources.archives.0.path=nowhere")
    assert result.returncode == 2
    assert "nowhere is no folder; expected the images" in result.stdout + result.stderr
    assert "Traceback" not in result.stdout + result.stderr


def test_recipes_are_listed() -> None:
    assert "flagship" in run_cli("recipes").stdout


def test_predict_without_a_champion_says_how_to_get_one() -> None:
    result = run_cli("predict", "photo.jpg")
    assert result.returncode == 2
    assert "make run" in result.stderr


@pytest.mark.parametrize("step", ["start", "download", "fuse", "augment", "train", "evaluate", "register", "promote", "finish"])
def test_every_step_has_a_command_line(step: str) -> None:
    result = run_cli("--help", module=f"components.{step}")
    assert result.returncode == 0
    assert "--job" in result.stdout
