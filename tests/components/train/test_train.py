from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from sklearn.model_selection import GridSearchCV

from components.augment.augment import augment
from components.common.dataset import Dataset
from components.common.errors import PawflowError
from components.common.recipe import Candidate, Recipe
from components.common.store import produce
from components.train import frozen
from components.train.export import export_and_compare, open_session
from components.train.frozen import fit_head
from components.train.models import check_candidate
from components.train.network import build_network, pooled_features, with_class_activation
from components.train.train import train
from serving.predictor import ModelCard, Predictor


@pytest.fixture(scope="module")
def views(tmp_path_factory: pytest.TempPathFactory, dataset: Dataset, recipe: Recipe, monkeypatch_module: pytest.MonkeyPatch) -> Path:
    monkeypatch_module.setenv("PAWFLOW_HOME", str(tmp_path_factory.mktemp("home")))
    return produce("augment", {}, lambda folder: augment(dataset, recipe, folder))[0]


@pytest.fixture(scope="module")
def delivered(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """The dataset as the store would deliver it, with an index."""
    folder = tmp_path_factory.mktemp("delivered")
    for file in dataset.folder.iterdir():
        if file.is_file():
            (folder / file.name).write_bytes(file.read_bytes())
    (folder / "artifact.json").write_text(json.dumps({"files": {"manifest.parquet": dataset.digest}, "record": {}}))
    return Dataset(folder)


@pytest.fixture(scope="module")
def monkeypatch_module() -> Iterator[pytest.MonkeyPatch]:
    patch = pytest.MonkeyPatch()
    yield patch
    patch.undo()


@pytest.mark.parametrize("name", ["cnn", "frozen", "tuned"])
def test_every_mode_makes_the_same_kind_of_candidate(name: str, delivered: Dataset, views: Path, recipe: Recipe, tmp_path: Path) -> None:
    candidate = next(candidate for candidate in recipe.candidates if candidate.name == name)
    record = train(delivered, views, recipe, candidate, tmp_path)
    assert record.metrics["onnx_difference"] <= 1e-4
    assert record.metrics["train.cpu_seconds"] > 0
    assert record.curves
    assert list((tmp_path / "tensorboard").rglob("events*"))
    assert json.loads((tmp_path / "candidate.json").read_text())["name"] == name
    assert ModelCard.read(tmp_path / "model.json").classes == ("cat", "dog")

    images = delivered.images("test")[:8]
    reloaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    expected = np.asarray(reloaded.predict_on_batch(images.astype(np.float32)))
    predictor = Predictor(tmp_path)
    np.testing.assert_allclose([predictor.score(image) for image in images], expected, atol=1e-4)

    session = open_session(tmp_path / "model.onnx")
    assert [(value.name, value.type) for value in session.get_inputs()] == [("image", "tensor(float)")]
    probabilities, activation = session.run(["probabilities", "class_activation"], {"image": images.astype(np.float32)})
    logits = activation.mean(axis=(1, 2))
    softmax = np.exp(logits - logits.max(axis=1, keepdims=True))
    np.testing.assert_allclose(probabilities, softmax / softmax.sum(axis=1, keepdims=True), atol=1e-4)


def test_features_are_computed_once(
    delivered: Dataset, views: Path, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    candidate = recipe.candidates[1]
    (tmp_path / "first").mkdir()
    train(delivered, views, recipe, candidate, tmp_path / "first")
    monkeypatch.setattr(frozen, "export_onnx", lambda *arguments: pytest.fail("features were computed again"))
    (tmp_path / "second").mkdir()
    train(delivered, views, recipe, candidate, tmp_path / "second")


def test_the_folded_head_equals_scikit_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(0)
    candidate = Candidate(name="c", architecture="simple_cnn", mode="scratch", options={"filters": [4, 6]})
    for num_classes in (2, 4):
        network = build_network(candidate, 32, num_classes)
        images = generator.integers(0, 256, (120, 32, 32, 3)).astype(np.float32)
        features = np.asarray(pooled_features(network).predict_on_batch(images)) * 50 + 3
        labels = generator.integers(0, num_classes, 120)
        fitted: list[Any] = []
        monkeypatch.setattr(GridSearchCV, "fit", _remember(GridSearchCV.fit, fitted))
        fit_head(network, features, labels, [str(number % 12) for number in range(120)], seed=0)
        expected = fitted[-1].predict_proba(features)
        weights, bias = network.get_layer("class_activation").get_weights()
        scores = features @ weights + bias
        found = np.exp(scores - scores.max(axis=1, keepdims=True))
        np.testing.assert_allclose(found / found.sum(axis=1, keepdims=True), expected, atol=1e-5)
        monkeypatch.undo()


def _remember(fit: Any, fitted: list[Any]) -> Any:
    def remembering_fit(self: Any, *arguments: Any, **options: Any) -> Any:
        fitted.append(self)
        return fit(self, *arguments, **options)

    return remembering_fit


def test_an_export_that_differs_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    candidate = Candidate(name="c", architecture="simple_cnn", mode="scratch", options={"filters": [4, 6]})
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
    with pytest.raises(PawflowError, match="diverged.*lower its learning rate"):
        train(delivered, views, recipe, wild, tmp_path)


def test_an_unknown_layer_prefix_lists_the_known_ones(delivered: Dataset, views: Path, recipe: Recipe, tmp_path: Path) -> None:
    lost = recipe.candidates[2].model_copy(update={"unfreeze": "stage9"})
    with pytest.raises(PawflowError, match="no layer starts so; prefixes: .*block7a"):
        train(delivered, views, recipe, lost, tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"architecture": "resnet"}, "known ones: simple_cnn, efficientnet_lite0"),
        ({"mode": "frozen"}, "in mode 'frozen'; it has scratch"),
        ({"options": {"layers": 3}}, "sets the option 'layers'; simple_cnn has filters, activation, downsample"),
        ({"options": {"filters": 3}}, "expected a list"),
    ],
)
def test_a_candidate_is_checked_without_keras(changes: dict[str, object], message: str) -> None:
    candidate = Candidate(name="c", architecture="simple_cnn", mode="scratch").model_copy(update=changes)
    with pytest.raises(PawflowError, match=message):
        check_candidate(candidate)
