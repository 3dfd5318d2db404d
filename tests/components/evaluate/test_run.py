"""The step as Kubeflow and the command line run it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from components.common.dataset import Dataset
from components.common.recipe import Recipe
from components.evaluate.run import run
from tests.conftest import deliver, write_mean_model


def test_another_selection_is_not_answered_from_the_cache(
    dataset: Dataset, recipe: Recipe, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = deliver(dataset, tmp_path / "dataset")
    candidate = write_mean_model(tmp_path / "candidate", dataset.image_size, 1.0)
    (candidate / "candidate.json").write_text(recipe.candidates[0].model_dump_json())

    def select(metric: str) -> str:
        changed = recipe.model_copy(update={"candidates": recipe.candidates[:1], "select": metric})
        run(recipe=changed.model_dump_json(), dataset=folder, candidates=[candidate], out=tmp_path / metric)
        return str(json.loads((tmp_path / metric / "metrics.json").read_text())["select"])

    assert [select(metric) for metric in ("accuracy", "log_loss")] == ["accuracy", "log_loss"]
    assert "reused in" not in capsys.readouterr().out
    select("accuracy")
    assert "reused in" in capsys.readouterr().out
