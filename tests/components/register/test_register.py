"""The winner, the comparison and the registry, with real models in a real sqlite registry."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import mlflow
import pandas as pd
import pytest

from components.common import registry
from components.common.dataset import Dataset
from components.common.errors import PawflowError
from components.common.recipe import Recipe
from components.common.registry import ServedModel
from components.promote.run import run as promote
from components.register.register import choose_winner, compare
from components.register.run import run as register
from tests.conftest import write_mean_model


def result(value: float) -> dict[str, object]:
    estimate = {"value": value, "low": value, "high": value, "n": 100, "errors": 1}
    return {split: {"accuracy": estimate, "log_loss": estimate} for split in ("validation", "test")}


def make_run(
    tmp_path: Path, dataset: Dataset, recipe: Recipe, name: str, weight: float, accuracy: float
) -> tuple[Path, dict[str, object], Recipe]:
    """A candidate and its evaluation, as the steps before would have left them."""
    folder = write_mean_model(tmp_path / name / "candidate", dataset.image_size, weight)
    (folder / "candidate.json").write_text(json.dumps({"name": "cnn"}))
    (folder / "artifact.json").write_text(json.dumps({"files": {"model.onnx": name}, "record": {}}))
    evaluation = tmp_path / name / "evaluation"
    evaluation.mkdir()
    (evaluation / "metrics.json").write_text(json.dumps({"candidates": {"cnn": result(accuracy)}}))
    out = tmp_path / name / "verdict"
    arguments = {"dataset": dataset.folder, "candidates": [folder], "evaluation": evaluation, "out": out}
    return out, arguments, recipe


def test_the_winner_is_best_on_validation(recipe: Recipe) -> None:
    results = {"a": result(0.8), "b": result(0.9), "c": result(0.9), "d": result(float("nan"))}
    assert choose_winner(results, recipe) == "b"
    assert choose_winner(results, recipe.model_copy(update={"select": "log_loss"})) == "a"
    with pytest.raises(PawflowError, match="no candidate has a finite accuracy"):
        choose_winner({"d": result(float("nan"))}, recipe)


def test_images_that_the_champion_was_trained_on_are_left_out(dataset: Dataset, tmp_path: Path) -> None:
    bright = write_mean_model(tmp_path / "bright", dataset.image_size, 3.0)
    dark = write_mean_model(tmp_path / "dark", 64, -3.0)
    hashes = list(dataset.rows("test")["sha256"])
    everything = compare(bright, ServedModel("1", dark, frozenset()), dataset, "accuracy")
    assert everything.num_images == len(hashes)
    assert everything.challenger + everything.champion == pytest.approx(1.0, abs=0.1)
    part = compare(bright, ServedModel("1", dark, frozenset(hashes[10:])), dataset, "accuracy")
    assert part.num_images == 10
    assert compare(bright, ServedModel("1", dark, frozenset(hashes)), dataset, "accuracy").num_images == 0


def test_a_champion_of_other_classes_is_not_compared(dataset: Dataset, tmp_path: Path) -> None:
    challenger = write_mean_model(tmp_path / "a", dataset.image_size, 1.0)
    champion = write_mean_model(tmp_path / "b", dataset.image_size, 1.0, classes=("bird", "boat"))
    with pytest.raises(PawflowError, match="knows the classes"):
        compare(challenger, ServedModel("1", champion, frozenset()), dataset, "accuracy")


def test_versions_aliases_and_verdicts(dataset: Dataset, recipe: Recipe, tmp_path: Path) -> None:
    """First champion; the same model again (a tie); its opposite; one that was judged before the champion changed."""
    text = recipe.model_copy(update={"candidates": recipe.candidates[:1]}).model_dump_json()
    better, worse = sorted((3.0, -3.0), key=lambda weight: -_accuracy(tmp_path, dataset, weight))
    outcomes = []
    for name, weight in (("first", worse), ("tie", worse), ("better", better), ("worse", worse)):
        out, arguments, _ = make_run(tmp_path, dataset, recipe, name, weight, 0.9)
        outcomes.append(register(recipe=text, **arguments))  # type: ignore[arg-type]
        if outcomes[-1] == "promote":
            promote(recipe=text, verdict=out)
        else:
            with pytest.raises(PawflowError, match="does not allow a promotion"):
                promote(recipe=text, verdict=out)
    assert outcomes == ["promote", "keep", "promote", "keep"]
    aliases = {alias: registry.find_version("tiny", alias) for alias in ("champion", "challenger", "previous")}
    assert aliases == {"champion": "3", "challenger": "4", "previous": "1"}

    champion = registry.get_version("tiny", "3")
    assert "promoted" in str(champion.description)
    assert "generated" in str(champion.description)
    assert champion.tags["dataset_digest"] == dataset.digest
    assert champion.tags["verdict"] == "promote"
    assert champion.tags["recipe"] == "tiny"

    with pytest.raises(PawflowError, match="compared with champion none, but the champion is now 3"):
        promote(recipe=text, verdict=tmp_path / "first" / "verdict")
    assert registry.find_version("tiny", "champion") == "3"

    check_the_registered_model(dataset)


def _accuracy(tmp_path: Path, dataset: Dataset, weight: float) -> float:
    folder = write_mean_model(tmp_path / f"probe{weight}", dataset.image_size, weight)
    accuracy = compare(folder, ServedModel("0", folder, frozenset()), dataset, "accuracy").challenger
    shutil.rmtree(folder)
    return accuracy


def check_the_registered_model(dataset: Dataset) -> None:
    model = mlflow.pyfunc.load_model("models:/tiny@champion")
    assert model.metadata.signature.inputs.to_dict() == [{"type": "binary", "name": "image", "required": True}]
    requirements = Path(mlflow.artifacts.download_artifacts("models:/tiny@champion")) / "requirements.txt"
    assert "tensorflow" not in requirements.read_text()
    assert all("==" in line for line in requirements.read_text().split())
    _, data = next(dataset.originals())
    (answer,) = model.predict(pd.DataFrame({"image": [data]}))
    assert set(answer) == {"label", "probability", "probabilities", "not_sure", "model_version", "dataset_digest"}
    assert answer["model_version"] == "3"
    assert answer["probability"] == max(answer["probabilities"].values())
    with pytest.raises(mlflow.exceptions.MlflowException, match="row 0: .*not an image"):
        model.predict(pd.DataFrame({"image": [b"camera shy"]}))
