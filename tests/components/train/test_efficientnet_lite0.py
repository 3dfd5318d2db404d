"""EfficientNet-Lite0: the published shapes, the published weights in their places, and the same features in Keras and in ONNX."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import onnxruntime
import pytest
from PIL import Image
from sklearn.datasets import load_sample_image

from components.common.errors import PawflowError
from components.train.models import efficientnet_lite0
from components.train.models.efficientnet_lite0 import DEFAULT_IMAGE_SIZE, FEATURE_CHANNELS, build_backbone
from components.train.weights import load_state_dict

# The classes of ImageNet (ILSVRC 2012), counted from 0.
DAISY = 985
PALACE = 698


@pytest.fixture(scope="module")
def backbone() -> Any:
    return build_backbone(DEFAULT_IMAGE_SIZE)


@pytest.fixture(scope="module")
def photos() -> np.ndarray:
    """Two photos that scikit-learn ships: a flower, and the Summer Palace in Beijing."""
    images = [Image.fromarray(load_sample_image(name)) for name in ("flower.jpg", "china.jpg")]
    side = (DEFAULT_IMAGE_SIZE, DEFAULT_IMAGE_SIZE)
    return np.stack([np.asarray(image.resize(side, Image.Resampling.BILINEAR), np.float32) for image in images])


@pytest.mark.parametrize(("image_size", "feature_size"), [(32, 1), (64, 2), (100, 4)])
def test_any_image_size_gives_a_32nd_of_it(image_size: int, feature_size: int) -> None:
    model = build_backbone(image_size, weights=None)
    assert model.input.name == "image"
    assert model.input_shape == (None, image_size, image_size, 3)
    assert model.output_shape == (None, feature_size, feature_size, FEATURE_CHANNELS)


def test_it_has_the_published_number_of_parameters_in_one_flat_graph(backbone: Any) -> None:
    assert backbone.output_shape == (None, 7, 7, FEATURE_CHANNELS)
    # 4 652 008 as published, without the classifier's 1000 x 1280 weights and 1000 biases.
    assert sum(variable.shape.num_elements() for variable in backbone.trainable_variables) == 4_652_008 - 1_281_000
    assert not any(isinstance(layer, keras.Model) for layer in backbone.layers)
    assert {layer.max_value for layer in backbone.layers if isinstance(layer, keras.layers.ReLU)} == {6.0}


def test_layer_names_say_where_in_the_network_a_layer_is(backbone: Any) -> None:
    prefixes = list(dict.fromkeys(layer.name.split("_")[0] for layer in backbone.layers))
    blocks = ["1a", "2a", "2b", "3a", "3b", "4a", "4b", "4c", "5a", "5b", "5c", "6a", "6b", "6c", "6d", "7a"]
    assert prefixes == ["image", "stem", *(f"block{block}" for block in blocks), "top"]


def test_with_the_published_classifier_it_knows_a_daisy_and_a_palace(backbone: Any, photos: np.ndarray) -> None:
    state_dict = load_state_dict("efficientnet_lite0")
    features = backbone.predict(photos, verbose=0).mean(axis=(1, 2))
    scores = features @ state_dict["_fc.weight"].T + state_dict["_fc.bias"]
    flower, palace = np.argsort(-scores, axis=1)
    assert flower[0] == DAISY
    assert PALACE in palace[:5]


def test_onnx_has_one_input_and_the_same_features(backbone: Any, photos: np.ndarray, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).uniform(0, 255, (1, *photos.shape[1:]))
    images = np.concatenate([photos, noise]).astype(np.float32)
    expected = backbone.predict(images, verbose=0)
    path = tmp_path / "backbone.onnx"
    backbone.export(str(path), format="onnx", verbose=False)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    assert [graph_input.name for graph_input in session.get_inputs()] == ["image"]
    (features,) = session.run(None, {"image": images})
    np.testing.assert_allclose(features, expected, rtol=1e-4, atol=1e-4 * expected.max())


@pytest.mark.parametrize(("image_size", "weights"), [(31, None), (224, "noisy-student")])
def test_what_cannot_be_built_is_refused(image_size: int, weights: str | None) -> None:
    with pytest.raises(PawflowError, match=f"got {image_size}|got '{weights}'"):
        build_backbone(image_size, weights=weights)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        pytest.param({"_blocks.3._bn1.bias": None}, "_blocks.3._bn1.bias is missing", id="missing"),
        pytest.param(
            {"_conv_head.weight": np.zeros((1280, 320, 3, 3))}, r"_conv_head.weight has the shape \(1280, 320, 3, 3\)", id="shape"
        ),
        pytest.param({"_conv_head.weight": np.zeros(1280)}, "_conv_head.weight has the shape", id="axes"),
        pytest.param({"_blocks.16._bn0.bias": np.zeros(1)}, "no place in it: _blocks.16._bn0.bias", id="left over"),
    ],
)
def test_weights_that_do_not_fit_are_refused(monkeypatch: pytest.MonkeyPatch, change: dict[str, Any], complaint: str) -> None:
    changed = {name: array for name, array in {**load_state_dict("efficientnet_lite0"), **change}.items() if array is not None}
    monkeypatch.setattr(efficientnet_lite0, "load_state_dict", lambda name: changed)
    with pytest.raises(PawflowError, match=complaint):
        build_backbone(32)
