from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np
import onnx
import pytest
import tensorflow as tf

from components.augment.augment import augment
from components.common.candidate import OUT_OF_FOLD, Candidate
from components.common.dataset import Dataset
from components.common.errors import PawflowError
from components.common.recipe import Recipe
from components.common.store import produce
from components.train.export import export_and_compare, open_session
from components.train.frozen import compute_features
from components.train.network import build_network, with_class_activation
from components.train.train import train
from serving.predictor import ModelCard, Predictor
from tests.conftest import deliver


@pytest.fixture(scope="module")
def views(tmp_path_factory: pytest.TempPathFactory, dataset: Dataset, recipe: Recipe, monkeypatch_module: pytest.MonkeyPatch) -> Path:
    monkeypatch_module.setenv("PAWFLOW_HOME", str(tmp_path_factory.mktemp("home")))
    return produce("augment", {}, lambda folder: augment(dataset, recipe, folder))[0]


@pytest.fixture(scope="module")
def delivered(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """The dataset as the store would deliver it, with an index."""
    return Dataset(deliver(dataset, tmp_path_factory.mktemp("delivered") / "dataset"))


@pytest.fixture(scope="module")
def monkeypatch_module() -> Iterator[pytest.MonkeyPatch]:
    patch = pytest.MonkeyPatch()
    yield patch
    patch.undo()


@pytest.mark.parametrize("name", ["cnn", "frozen", "tuned"])
def test_every_mode_makes_the_same_kind_of_candidate(name: str, delivered: Dataset, views: Path, recipe: Recipe, tmp_path: Path) -> None:
    candidate = next(candidate for candidate in recipe.candidates if candidate.name == name)
    tf.config.experimental.enable_tensor_float_32_execution(True)
    record = train(delivered, views, recipe.model_copy(update={"not_sure_share": 0.4}), candidate, tmp_path)
    assert record.metrics["onnx_difference"] <= 1e-4
    assert not tf.config.experimental.tensor_float_32_execution_enabled(), "which a GPU would round by, and ONNX Runtime does not"
    assert record.metrics["train.cpu_seconds"] > 0
    assert record.curves
    assert list((tmp_path / "tensorboard").rglob("events*"))
    assert json.loads((tmp_path / "candidate.json").read_text())["name"] == name
    card = ModelCard.read(tmp_path / "model.json")
    assert card.classes == ("cat", "dog")
    assert card.temperature == record.metrics["calibration.temperature"] != 1.0
    assert (tmp_path / OUT_OF_FOLD).is_file() == (name == "frozen")

    images = delivered.images("test")[:8]
    reloaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    expected = np.asarray(reloaded.predict_on_batch(images.astype(np.float32)))
    predictor = Predictor(tmp_path)
    np.testing.assert_allclose([predictor.score(image) for image in images], expected, atol=1e-4)

    validation = reloaded.predict_on_batch(delivered.images("validation")[:].astype(np.float32)).max(axis=1)
    assert 0.1 < (validation < card.not_sure_below).mean() <= 0.4, "as many as the recipe allows, of which this threshold takes its part"

    session = open_session(tmp_path / "model.onnx")
    assert [(value.name, value.type) for value in session.get_inputs()] == [("image", "tensor(float)")]
    probabilities, activation = session.run(["probabilities", "class_activation"], {"image": images.astype(np.float32)})
    logits = activation.mean(axis=(1, 2))
    softmax = np.exp(logits - logits.max(axis=1, keepdims=True))
    np.testing.assert_allclose(probabilities, softmax / softmax.sum(axis=1, keepdims=True), atol=1e-4)


def test_features_are_computed_once(
    delivered: Dataset, views: Path, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frozen, ridge = (recipe.candidates[1].model_copy(update={"classifier": name}) for name in ("logistic", "ridge"))
    monkeypatch.setattr("components.train.frozen.build_network", lambda *arguments: pytest.fail("the network was built a second time"))
    (tmp_path / "first").mkdir()
    first = train(delivered, views, recipe, frozen, tmp_path / "first")
    monkeypatch.setattr("components.train.features.export_onnx", lambda *arguments: pytest.fail("the backbone was exported again"))
    monkeypatch.setattr("numpy.save", lambda *arguments: pytest.fail("features were computed again"))
    monkeypatch.setattr("components.train.features._read_cost", lambda entry: 1e6)
    (tmp_path / "second").mkdir()
    second = train(delivered, views, recipe, ridge, tmp_path / "second")
    # What the network, the originals and the views had cost is counted again, once each.
    assert 0 < first.metrics["train.cpu_seconds"] < 1e6
    assert 3e6 < second.metrics["train.cpu_seconds"] < 4e6


def test_what_features_cost_is_told_again_to_whoever_finds_them(
    delivered: Dataset, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PAWFLOW_HOME", str(tmp_path))
    images = {"originals": (delivered.images("train"), "digest")}
    (first, before), (second, found) = (compute_features(delivered, recipe.candidates[1], images) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    entries = [json.loads(file.read_text()) for file in (tmp_path / "cache" / "train").glob("*/artifact.json")]
    assert before == 0.0
    recorded = sum(entry["record"]["metrics"]["cpu_seconds"] for entry in entries)
    assert 0 < found == pytest.approx(recorded)


def test_int8_says_almost_always_the_same(delivered: Dataset, views: Path, recipe: Recipe, tmp_path: Path) -> None:
    candidate = recipe.candidates[1].model_copy(update={"int8": True})
    record = train(delivered, views, recipe, candidate, tmp_path)
    assert record.metrics["int8.same_label"] > 0.8
    assert record.metrics["int8.bytes"] < 0.4 * record.metrics["onnx_bytes"]
    operations = {node.op_type for node in onnx.load(tmp_path / "model.int8.onnx").graph.node}
    assert "DequantizeLinear" in operations

    images = delivered.images("validation")[:16].astype(np.float32)
    exact, quick = (open_session(tmp_path / name).run(None, {"image": images}) for name in ("model.onnx", "model.int8.onnx"))
    assert 0 < np.abs(exact[0] - quick[0]).max() < 0.3


def test_an_export_that_differs_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    candidate = Candidate(name="c", architecture="simple_cnn", mode="scratch", options={"conv_layers": 2, "layer_size": 4})
    network = build_network(candidate, 32, 2)
    images = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), dtype=np.uint8)
    assert export_and_compare(network, tmp_path / "good.onnx", images) <= 1e-4
    other = build_network(candidate, 32, 2)
    monkeypatch.setattr("components.train.export.with_class_activation", lambda network: with_class_activation(other))
    with pytest.raises(PawflowError, match="differs from Keras"):
        export_and_compare(network, tmp_path / "bad.onnx", images)
    assert not (tmp_path / "bad.onnx").exists()


def test_divergence_is_an_error_not_a_model(delivered: Dataset, views: Path, recipe: Recipe, tmp_path: Path) -> None:
    wild = recipe.candidates[0].model_copy(update={"learning_rate": 1e30, "epochs": 3})
    with pytest.raises(PawflowError, match="diverged.*lower its learning_rate"):
        train(delivered, views, recipe, wild, tmp_path)


def test_an_unknown_layer_prefix_lists_the_known_ones(delivered: Dataset, views: Path, recipe: Recipe, tmp_path: Path) -> None:
    lost = recipe.candidates[2].model_copy(update={"unfreeze": "stage9"})
    with pytest.raises(PawflowError, match="no layer starts so; prefixes: .*block7a"):
        train(delivered, views, recipe, lost, tmp_path)
