"""Every architecture of the table: builds, trains, is saved and read back, and says the same in ONNX with an exact class-activation map."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any, get_args

import keras
import numpy as np
import pytest

from components.common.candidate import Candidate
from components.common.errors import PawflowError
from components.train.export import export_onnx, open_session
from components.train.fitting import PHASES
from components.train.models import ARCHITECTURES, build_features, check_candidate, initialize, parts
from components.train.models.options import Activation, Initializer, Pretrained, PretrainedName
from components.train.network import HEAD, OUTPUTS, build_network, with_class_activation

NUM_CLASSES = 3
PRETRAINED = [name for name, architecture in ARCHITECTURES.items() if issubclass(architecture.options, Pretrained)]


def make(architecture: str, mode: str = "scratch", **options: Any) -> Candidate:
    return Candidate.model_validate({"name": "c", "architecture": architecture, "mode": mode, "options": options})


def size_of(architecture: str) -> int:
    return max(32, ARCHITECTURES[architecture].min_size)


@cache
def build(architecture: str) -> keras.Model:
    keras.utils.set_random_seed(0)
    return build_network(make(architecture), size_of(architecture), NUM_CLASSES)


def draw(size: int, num_images: int = 4) -> np.ndarray:
    return np.random.default_rng(0).uniform(0, 255, (num_images, size, size, 3)).astype(np.float32)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_it_trains_is_read_back_and_says_the_same_in_onnx(name: str, tmp_path: Path) -> None:
    network, images = build(name), draw(size_of(name))
    assert not any(isinstance(layer, keras.Model) for layer in network.layers), "nested, so that no map could reach its layers"
    before = [variable.numpy() for variable in network.trainable_variables]
    # Eagerly, because tracing the graph of the largest takes longer than everything else here.
    network.compile("adam", loss="sparse_categorical_crossentropy", run_eagerly=True)
    assert np.isfinite(network.train_on_batch(images, np.array([0, 1, 2, 0])))
    moved = [bool((variable.numpy() != old).any()) for variable, old in zip(network.trainable_variables, before, strict=True)]
    assert np.mean(moved) > 0.9

    network.save(tmp_path / "model.keras")
    reloaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    expected = np.asarray(network(images))
    np.testing.assert_allclose(np.asarray(reloaded(images)), expected, atol=1e-6)

    export_onnx(with_class_activation(reloaded), tmp_path / "model.onnx", OUTPUTS)
    session = open_session(tmp_path / "model.onnx")
    assert [value.name for value in session.get_inputs()] == ["image"]
    probabilities, activation = session.run(list(OUTPUTS), {"image": images})
    np.testing.assert_allclose(probabilities, expected, atol=1e-4)
    logits = np.asarray(keras.Model(network.input, network.get_layer("logits").output)(images))
    np.testing.assert_allclose(activation.mean(axis=(1, 2)), logits, atol=1e-4 * max(1.0, np.abs(logits).max()))


@pytest.mark.parametrize("name", PRETRAINED)
def test_fine_tuning_changes_the_last_block_unless_told_otherwise(name: str) -> None:
    network = build(name)
    _, body = PHASES["fine_tune"](network, make(name, "fine_tune"))
    learning = [layer.name for layer in network.layers if layer.weights and body.is_trained(layer)]
    assert learning[-1] == HEAD
    assert 1 < len(learning) < len([layer for layer in network.layers if layer.weights]) / 2


@pytest.mark.parametrize("name", ["inception_v3_mixed7", "inception_resnet_v2"])
def test_pixels_are_scaled_as_the_published_weights_expect(name: str) -> None:
    network, images = build(name), draw(size_of(name))
    scaled = keras.Model(network.input, network.get_layer("stem_rescale").output)(images)
    expected = getattr(keras.applications, name.removesuffix("_mixed7")).preprocess_input(images.copy())
    np.testing.assert_allclose(np.asarray(scaled), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "prefix"),
    [
        ("simple_cnn", "block4"),
        ("fast_resnet", "block3"),
        ("efficientnet_lite2", "block7"),
        ("efficientnet_v2_b2", "block6"),
        ("inception_v3_mixed7", "mixed6"),
        ("inception_resnet_v2", "block8_1"),
        ("vgg16", "block5"),
        ("concatenation", "block7"),
    ],
)
def test_the_last_part_of_a_network_can_be_named(name: str, prefix: str) -> None:
    names = [layer.name for layer in build(name).layers]
    first = next(position for position, layer in enumerate(names) if layer.startswith(prefix))
    assert len(names) / 2 < first < len(names) - 5


def test_every_network_with_published_weights_can_be_concatenated() -> None:
    assert {*get_args(PretrainedName), "concatenation"} == set(PRETRAINED)


@pytest.mark.parametrize("activation", get_args(Activation))
def test_the_switches_of_simple_cnn_are_in_the_network(activation: str) -> None:
    options: dict[str, Any] = {
        "conv_layers": 3,
        "layer_size": 4,
        "growth": 1.5,
        "dense_layers": 2,
        "activation": activation,
        "batch_norm": False,
    }
    options |= {"kernel_initializer": "lecun_uniform", "bias_initializer": 0.01, "dropout": 0.1, "grayscale": True}
    network = build_network(make("simple_cnn", **options), 20, NUM_CLASSES)
    layers = {layer.name: layer for layer in network.layers}
    convolutions = [layer for layer in network.layers if isinstance(layer, keras.layers.Conv2D)]
    assert [layer.kernel.shape for layer in convolutions] == [(3, 3, 1, 4), (3, 3, 4, 6), (3, 3, 6, 9), (1, 1, 9, 4), (1, 1, 4, 4)]
    assert all(np.allclose(layer.bias.numpy(), 0.01) for layer in convolutions)
    assert {type(layer.kernel_initializer) for layer in convolutions} == {keras.initializers.LecunUniform}
    assert layers[f"dense2_{activation}"].activation is keras.activations.get(activation)
    assert layers["block3_dropout"].rate == 0.1
    assert layers["class_activation"].input.shape == (None, 3, 3, 4)
    assert np.asarray(network(draw(20))).shape == (4, NUM_CLASSES)


@pytest.mark.parametrize("initializer", get_args(Initializer))
def test_every_initializer_is_known_to_keras(initializer: str) -> None:
    build_network(make("conv_blocks", kernel_initializer=initializer, layer_size=1), 8, NUM_CLASSES)


def test_with_batch_normalisation_its_shift_is_the_bias() -> None:
    network = build_network(make("conv_blocks", bias_initializer=0.01, layer_size=2), 8, NUM_CLASSES)
    assert network.get_layer("block1_conv1").bias is None
    np.testing.assert_allclose(network.get_layer("block1_conv1_bn").beta.numpy(), 0.01)


def test_a_patch_is_one_position_and_without_branches_nothing_is_added() -> None:
    network = build_network(make("fast_resnet", widths=[4, 6, 8], depth=2, residual=False, patch=4, scale=0.5), 64, NUM_CLASSES)
    assert network.get_layer("stem_conv").output.shape == (None, 16, 16, 4)
    assert network.get_layer("class_activation").input.shape == (None, 4, 4, 8)
    assert not any(isinstance(layer, keras.layers.Add) for layer in network.layers)
    assert network.get_layer("top_scale").scale == 0.5


@pytest.mark.parametrize(("input_size", "grid"), [(None, 7), (16, 3)])
def test_a_whitening_stem_makes_components_that_do_not_correlate(input_size: int | None, grid: int) -> None:
    candidate = make("fast_resnet", stem="whitening", widths=[24, 4, 8], residual=False).model_copy(update={"input_size": input_size})
    network = build_network(candidate, 32, NUM_CLASSES)
    # Neighbours are alike, and colours too, as in photos.
    images = np.repeat(np.repeat(draw(16, 40).mean(axis=-1, keepdims=True), 2, axis=1), 2, axis=2) + draw(32, 40) / 4
    initialize(network, candidate, np.split(np.clip(images, 0, 255).astype(np.uint8), 4))
    stem = network.get_layer("stem_whitening")
    values = np.asarray(keras.Model(network.input, stem.output)(np.clip(images, 0, 255).astype(np.float32))).reshape(-1, 24)
    positive, negative = np.split(values, 2, axis=1)
    np.testing.assert_allclose(negative, -positive, atol=1e-5)
    np.testing.assert_allclose(positive.T @ positive / len(positive), np.eye(12), atol=0.05)
    # No border: 31 positions a side, or 15, halved twice and rounded down.
    assert network.get_layer("class_activation").input.shape == (None, grid, grid, 8)
    deep = build_network(make("fast_resnet", stem="whitening", widths=[24, 4, 4, 4, 4, 4, 4]), 16, NUM_CLASSES)
    assert deep.get_layer("class_activation").input.shape == (None, 1, 1, 4)


@pytest.mark.parametrize(
    ("names", "size", "grid"),
    [(["efficientnet_lite2", "efficientnet_lite0"], 64, 2), (["vgg16", "efficientnet_lite0"], 48, 2)],
    ids=["same grid", "coarser grid"],
)
def test_the_pooled_features_of_a_concatenation_are_those_of_its_parts_side_by_side(names: list[str], size: int, grid: int) -> None:
    image, candidate = keras.Input((size, size, 3), name="image"), make("concatenation", of=names)

    def pool(*candidates: Candidate) -> np.ndarray:
        keras.utils.set_random_seed(0)
        pooled = [keras.layers.GlobalAveragePooling2D()(build_features(item, image)) for item in candidates]
        return np.concatenate([np.asarray(keras.Model(image, features)(draw(size))) for features in pooled], axis=1)

    assert build_features(candidate, image).shape[1:3] == (grid, grid)
    assert [part.architecture for part in parts(candidate)] == names
    together = pool(candidate)
    np.testing.assert_allclose(together, pool(*parts(candidate)), atol=1e-5 * np.abs(together).max())


def test_one_network_is_its_own_part() -> None:
    assert parts(make("vgg16")) == [make("vgg16")]


def test_grids_that_do_not_fit_are_refused() -> None:
    image = keras.Input((75, 75, 3), name="image")
    with pytest.raises(PawflowError, match="at 75 pixels they have vgg16 2 x 2, inception_v3_mixed7 3 x 3; choose another input_size"):
        build_features(make("concatenation", of=["vgg16", "inception_v3_mixed7"]), image)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"architecture": "resnet"}, "did you mean .fast_resnet.. Known ones: simple_cnn, conv_blocks, .*concatenation"),
        ({"mode": "frozen"}, "in mode 'frozen'; it has scratch"),
        (
            {"options": {"layers": 3}},
            r"do not fit simple_cnn:\n  layers: unknown field; did you mean 'layer_size'\? Known ones: activation, ",
        ),
        ({"options": {"conv_layers": "3"}}, r"do not fit simple_cnn:\n  conv_layers: Input should be a valid integer \(got '3'\)"),
        ({"options": {"conv_layers": True}}, "conv_layers: .*integer .*got True"),
        ({"options": {"dropout": 1.5}}, "dropout: .*less than 1 .*got 1.5"),
        (
            {"architecture": "fast_resnet", "options": {"stem": "whitening"}},
            "options that do not fit fast_resnet:\n  the options: .*24 channels and patch 1, not 32 and 1",
        ),
        ({"architecture": "fast_resnet", "options": {"widths": [4, 0]}}, "widths.1: .*greater than or equal to 1 .*got 0"),
        ({"options": {"activation": "rulu"}}, "activation: there is no 'rulu'; did you mean 'relu'"),
        (
            {"architecture": "vgg16", "mode": "frozen", "options": {"weights": "random"}},
            "random weights, which never learn .*set mode: scratch",
        ),
        (
            {"architecture": "vgg16", "mode": "frozen", "options": {"weights": "noisy"}},
            "there is no 'noisy'; known ones: imagenet, random",
        ),
        ({"architecture": "vgg16", "options": {"weights": "imagenet"}}, "starts from scratch and yet from the weights 'imagenet'"),
        ({"architecture": "vgg16", "input_size": 16}, "16 x 16 pixels, and vgg16 takes 32 x 32 or more; set its input_size"),
        (
            {"architecture": "concatenation", "options": {"of": ["vgg16", "simple_cnn"]}},
            "of.1: there is no 'simple_cnn'; known ones: .*vgg16",
        ),
        ({"architecture": "concatenation", "options": {"of": ["vgg16", "vgg16"]}}, "each network may occur once"),
        (
            {"architecture": "concatenation", "options": {"of": ["vgg16", "inception_resnet_v2"]}},
            "inception_resnet_v2 takes 75 x 75 or more",
        ),
    ],
)
def test_a_candidate_is_checked_without_keras(changes: dict[str, object], message: str) -> None:
    with pytest.raises(PawflowError, match=message):
        check_candidate(make("simple_cnn").model_copy(update=changes), image_size=64)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_defaults_are_good_in_every_mode(name: str) -> None:
    for mode in ARCHITECTURES[name].modes:
        check_candidate(make(name, mode), image_size=96)
