"""From raw pixels to probabilities: one input, resized inside, and the same in ONNX."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from tf2onnx.graph import Node

from components.common.candidate import Candidate
from components.train.export import export_and_compare, export_onnx, open_session
from components.train.network import build_network, with_class_activation
from components.train.quantization import quantize


@pytest.mark.parametrize("input_size", [None, 64, 32, 48, 96])
def test_the_network_resizes_inside_and_in_onnx_alike(input_size: int | None, tmp_path: Path) -> None:
    candidate = Candidate(name="c", architecture="simple_cnn", mode="scratch", options={"conv_layers": 1}, input_size=input_size)
    network = build_network(candidate, image_size=64, num_classes=3)
    assert network.input.name == "image"
    assert network.input_shape == (None, 64, 64, 3)
    assert network.get_layer("block1_conv").input.shape[1] == (input_size or 64)
    images = np.random.default_rng(0).integers(0, 256, (4, 64, 64, 3), dtype=np.uint8)
    network.save(tmp_path / "model.keras")
    reloaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    assert export_and_compare(reloaded, tmp_path / "model.onnx", images) <= 1e-4


def test_an_export_writes_each_weight_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: Counter[str] = Counter()
    write = Node.update_proto

    def count(node: Any, *storage: Any) -> None:
        written[node.name] += 1
        write(node, *storage)

    monkeypatch.setattr(Node, "update_proto", count)
    candidate = Candidate(name="c", architecture="simple_cnn", mode="scratch")
    export_onnx(build_network(candidate, 32, 2), tmp_path / "model.onnx", ["probabilities"])
    assert written
    assert max(written.values()) == 1


def test_halving_averages_four_pixels() -> None:
    candidate = Candidate(name="c", architecture="simple_cnn", mode="scratch", options={"conv_layers": 1}, input_size=16)
    network = build_network(candidate, image_size=32, num_classes=3)
    images = np.random.default_rng(0).uniform(0, 255, (2, 32, 32, 3)).astype(np.float32)
    halved = keras.Model(network.input, network.get_layer("rescale").input).predict_on_batch(images)
    np.testing.assert_allclose(halved, images.reshape(2, 16, 2, 16, 2, 3).mean(axis=(2, 4)), rtol=1e-5)


def test_several_networks_may_be_mirrored_too() -> None:
    options = {"of": ["efficientnet_lite0", "vgg16"], "weights": "random"}
    candidate = Candidate(name="c", architecture="concatenation", mode="fine_tune", options=options, flip_tta=True)
    photo = np.random.default_rng(0).uniform(0, 255, (1, 32, 32, 3)).astype(np.float32)
    one, other = np.asarray(build_network(candidate, 32, 2).predict_on_batch(np.concatenate([photo, photo[:, :, ::-1]])))
    np.testing.assert_allclose(one, other, atol=1e-5)


def test_a_mirrored_network_answers_with_the_mean_over_both_sides(tmp_path: Path) -> None:
    plain = Candidate(name="c", architecture="fast_resnet", mode="scratch", options={"widths": [4, 8]})
    one, both = (build_network(candidate, 32, 3) for candidate in (plain, plain.model_copy(update={"flip_tta": True})))
    both.set_weights(one.get_weights())
    images = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), dtype=np.uint8)
    ask = with_class_activation(one).predict_on_batch
    maps, mirrored = (np.asarray(ask(side.astype(np.float32))[1]) for side in (images, images[:, :, ::-1]))
    probabilities, map_of_both = map(np.asarray, with_class_activation(both).predict_on_batch(images.astype(np.float32)))
    np.testing.assert_allclose(map_of_both, (maps + mirrored[:, :, ::-1]) / 2, atol=1e-5)

    both.save(tmp_path / "model.keras")
    reloaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    assert export_and_compare(reloaded, tmp_path / "model.onnx", images) <= 1e-4
    quantize(tmp_path / "model.onnx", tmp_path / "int8.onnx", images)
    answers = open_session(tmp_path / "int8.onnx").run(["probabilities"], {"image": images.astype(np.float32)})[0]
    np.testing.assert_allclose(answers, probabilities, atol=0.05)
