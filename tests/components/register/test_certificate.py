"""The register step in full: Keras, ONNX, pyfunc and a real endpoint, started once."""

from __future__ import annotations

import json
from pathlib import Path

import mlflow
import numpy as np
import psutil
import pytest

from components.common import registry
from components.common.dataset import Dataset
from components.common.errors import PawflowError
from components.common.recipe import Recipe
from components.register.certificate import Certificate, _ask_keras, pick_golden_photos
from components.register.endpoint import Endpoint
from components.register.run import run as register
from tests.components.register.conftest import Evaluated, add_int8, evaluate_model


def save_keras(evaluated: Evaluated, image_size: int, bias: float) -> None:
    """The Keras model that `write_mean_model` would be the export of."""
    import keras

    image = keras.Input((image_size, image_size, 3), name="image")
    means = keras.layers.GlobalAveragePooling2D()(keras.layers.Rescaling(1 / 127.5, offset=-1)(image))
    dense = keras.layers.Dense(2, activation="softmax")
    network = keras.Model(image, dense(means))
    dense.set_weights([np.array([[-1, 1]] * 3, np.float32) / 3, np.array([-bias, bias], np.float32)])
    network.save(evaluated.candidate / "model.keras")


def test_a_model_is_started_certified_and_only_then_an_alias_points_to_it(
    dataset: Dataset, one_candidate: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, deserted_address: str
) -> None:
    """With an 8-bit network whose probabilities differ from those of float32, so that the endpoint shows which one it serves.

    And with a proxy for the world outside, by which nobody could reach it.
    """
    monkeypatch.setenv("HTTP_PROXY", deserted_address)
    evaluated = evaluate_model(tmp_path / "run", dataset, 2.0)
    save_keras(evaluated, dataset.image_size, 2.0)
    add_int8(evaluated.candidate, dataset, 2.5)
    recipe = one_candidate.model_copy(update={"gate": one_candidate.gate.model_copy(update={"margin": 0.2})})
    places = {"dataset": dataset.folder, "candidates": [evaluated.candidate], "evaluation": evaluated.evaluation}
    assert register(recipe=recipe.model_dump_json(), out=tmp_path / "verdict", **places) == "promote"  # type: ignore[arg-type]
    assert registry.get_version("tiny", "1").tags["serve"] == "int8"
    assert registry.find_version("tiny", "challenger") == "1"
    certificate = json.loads(registry.fetch("tiny", "1", registry.CERTIFICATE_FILE).read_text())
    assert certificate["holds"]
    assert certificate["form"] == "int8"
    assert certificate["num_photos"] == 32
    assert set(certificate["differences"]) == {"Keras against ONNX", "ONNX against pyfunc", "ONNX against HTTP"}
    assert max(certificate["differences"].values()) < 1e-5
    assert certificate["seconds_to_serve"] > 0
    (served,) = [path for path in (tmp_path / "verdict").iterdir() if path.suffix == ".png"]
    assert served.stat().st_size > 5000
    assert not [process for process in psutil.Process().children(recursive=True) if "uvicorn" in " ".join(process.cmdline())]
    (run,) = mlflow.search_runs(search_all_experiments=True, output_format="list")
    artifacts = {item.path for item in mlflow.MlflowClient().list_artifacts(run.info.run_id)}
    assert {"verdict.json", "accuracy_latency_cost.png"} <= artifacts


@pytest.mark.parametrize("difference", [2e-4, float("nan")])
def test_forms_that_disagree_are_not_registered(difference: float) -> None:
    differences = {"Keras against ONNX": 1e-7, "ONNX against HTTP": difference}
    certificate = Certificate("digest", 32, "float32", "", None, 1e-4, differences, 1.0, 1.0)
    assert not certificate.holds
    with pytest.raises(PawflowError, match="disagree on 32 test photos .* so it is not registered"):
        certificate.require()


def test_golden_photos_are_fixed_by_the_data(dataset: Dataset) -> None:
    golden = pick_golden_photos(dataset)
    assert list(golden) != sorted(golden)
    assert sorted(golden) == sorted(dataset.rows("test")["sha256"])[:32]


def test_what_does_not_start_says_why(tmp_path: Path) -> None:
    with Endpoint(str(tmp_path / "nothing")) as endpoint, pytest.raises(PawflowError, match="does not serve: .* end of its output"):
        endpoint.wait()


def test_a_version_that_fails_is_deleted(dataset: Dataset, one_candidate: Recipe, tmp_path: Path) -> None:
    """Its Keras model is missing, which is found once the version exists."""
    evaluated = evaluate_model(tmp_path / "run", dataset, 2.0)
    places = {"dataset": dataset.folder, "candidates": [evaluated.candidate], "evaluation": evaluated.evaluation}
    with pytest.raises(ValueError, match=r"model\.keras"):
        register(recipe=one_candidate.model_dump_json(), out=tmp_path / "verdict", **places)  # type: ignore[arg-type]
    assert registry.list_versions() == []
    assert not (tmp_path / "verdict").exists()


def test_a_keras_file_that_carries_code_is_refused(tmp_path: Path) -> None:
    import keras

    inputs = keras.Input((4, 4, 3))
    keras.Model(inputs, keras.layers.Lambda(lambda pixels: pixels * 2)(inputs)).save(tmp_path / "model.keras")
    with pytest.raises(ValueError, match="unsafe"):
        _ask_keras(tmp_path / "model.keras", np.zeros((1, 4, 4, 3), np.uint8))
