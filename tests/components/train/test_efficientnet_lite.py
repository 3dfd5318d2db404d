"""EfficientNet-Lite: the published shapes, the published weights in their places."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_sample_image

from components.common.errors import PawflowError
from components.train.models import efficientnet_lite
from components.train.models.efficientnet_lite import build_features
from components.train.torch_file import read_torch_file
from components.train.weights import find_weights

# The classes of ImageNet (ILSVRC 2012), counted from 0.
BEE = 309
PALACE = 698
# As published: side of the images it was trained on, number of parameters; and the number of blocks of each stage.
VERSIONS = {
    0: (224, 4_652_008, (1, 2, 2, 3, 3, 4, 1)),
    1: (240, 5_416_680, (1, 3, 3, 4, 4, 5, 1)),
    2: (260, 6_092_072, (1, 3, 3, 4, 4, 5, 1)),
}


def build(version: int, image_size: int, weights: str = "imagenet") -> keras.Model:
    image = keras.Input((image_size, image_size, 3), name="image")
    return keras.Model(image, build_features(image, version=version, weights=weights))


def read(version: int) -> dict[str, np.ndarray]:
    return read_torch_file(find_weights(f"efficientnet_lite{version}"))


def take_photos(size: int) -> np.ndarray:
    """Two photos that scikit-learn ships: a flower, and the Summer Palace in Beijing."""
    images = [Image.fromarray(load_sample_image(name)) for name in ("flower.jpg", "china.jpg")]
    return np.stack([np.asarray(image.resize((size, size), Image.Resampling.BILINEAR), np.float32) for image in images])


@pytest.fixture(scope="module", params=VERSIONS)
def version(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture(scope="module")
def backbone(version: int) -> Any:
    return build(version, VERSIONS[version][0])


@pytest.mark.parametrize(("image_size", "feature_size"), [(32, 1), (64, 2), (100, 4)])
def test_any_image_size_gives_a_32nd_of_it(image_size: int, feature_size: int) -> None:
    assert build(0, image_size, weights="random").output_shape == (None, feature_size, feature_size, 1280)


def test_it_has_the_published_number_of_parameters_in_one_flat_graph(backbone: Any, version: int) -> None:
    # Without the classifier's 1000 x 1280 weights and 1000 biases.
    assert sum(variable.shape.num_elements() for variable in backbone.trainable_variables) == VERSIONS[version][1] - 1_281_000
    assert not any(isinstance(layer, keras.Model) for layer in backbone.layers)
    assert {layer.max_value for layer in backbone.layers if isinstance(layer, keras.layers.ReLU)} == {6.0}


def test_layer_names_say_where_in_the_network_a_layer_is(backbone: Any, version: int) -> None:
    prefixes = list(dict.fromkeys(layer.name.split("_")[0] for layer in backbone.layers))
    counts = enumerate(VERSIONS[version][2], start=1)
    assert prefixes == ["image", "stem", *(f"block{stage}{letter}" for stage, count in counts for letter in "abcde"[:count]), "top"]


def test_with_the_published_classifier_it_thinks_of_bees_at_a_flower_and_knows_a_palace(backbone: Any, version: int) -> None:
    state_dict = read(version)
    features = backbone.predict(take_photos(VERSIONS[version][0]), verbose=0).mean(axis=(1, 2))
    scores = features @ state_dict["_fc.weight"].T + state_dict["_fc.bias"]
    flower, palace = np.argsort(-scores, axis=1)
    # There is no class for this flower.
    assert BEE in flower[:5]
    assert PALACE in palace[:5]


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
    changed = {name: array for name, array in {**read(0), **change}.items() if array is not None}
    monkeypatch.setattr(efficientnet_lite, "read_torch_file", lambda path: changed)
    with pytest.raises(PawflowError, match=complaint):
        build(0, 32)
