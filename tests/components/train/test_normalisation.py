from __future__ import annotations

import keras
import numpy as np
import pytest

from components.common.candidate import Candidate
from components.train.network import build_network
from components.train.normalisation import FusedBatchNormalization, fuse_normalisation


def build(precision: str = "float32", input_size: int | None = None) -> tuple[keras.Model, keras.Model]:
    """A network as it is built, and fused; neither hides features, so that both compute the same."""
    candidate = Candidate(
        name="c", architecture="fast_resnet", mode="scratch", options={"widths": [4, 8, 8]}, dropout=0.0, input_size=input_size
    )
    keras.utils.set_random_seed(0)
    keras.config.set_dtype_policy(precision)
    try:
        network = build_network(candidate, 32, 3)
        return network, fuse_normalisation(network)
    finally:
        keras.config.set_dtype_policy("float32")


def list_fused(network: keras.Model) -> list[keras.layers.Layer]:
    return [layer for layer in network.layers if isinstance(layer, FusedBatchNormalization)]


@pytest.mark.parametrize(("precision", "tolerance"), [("float32", 1e-5), ("mixed_bfloat16", 1e-2)])
def test_it_learns_and_remembers_as_keras_does(precision: str, tolerance: float) -> None:
    networks = build(precision)
    assert len(list_fused(networks[1])) == 5
    images = np.random.default_rng(0).integers(0, 256, (16, 32, 32, 3)).astype(np.uint8)
    labels = np.eye(3, dtype=np.float32)[[0, 1, 2, 1] * 4]
    for network in networks:
        network.compile(keras.optimizers.SGD(0.1), loss="categorical_crossentropy")
    losses = np.array([[network.train_on_batch(images, labels) for network in networks] for _ in range(4)])
    np.testing.assert_allclose(losses[:, 1], losses[:, 0], rtol=tolerance)
    assert losses[-1, 1] < losses[0, 1]
    for plain, fused in zip(*(network.get_weights() for network in networks), strict=True):
        np.testing.assert_allclose(fused, plain, atol=tolerance)
    np.testing.assert_allclose(np.asarray(networks[1](images)), np.asarray(networks[0](images)), atol=tolerance)


def test_what_is_frozen_keeps_its_statistics() -> None:
    _, network = build()
    for layer in list_fused(network):
        layer.trainable = False
    before = [np.asarray(layer.moving_mean) for layer in list_fused(network)]
    network.compile("sgd", loss="categorical_crossentropy")
    network.train_on_batch(np.full((2, 32, 32, 3), 9, np.uint8), np.eye(3, dtype=np.float32)[:2])
    for layer, mean in zip(list_fused(network), before, strict=True):
        np.testing.assert_array_equal(np.asarray(layer.moving_mean), mean)


def test_a_network_that_resizes_by_an_operation_is_copied_too() -> None:
    plain, fused = build(input_size=24)
    images = np.random.default_rng(0).uniform(0, 255, (2, 32, 32, 3)).astype(np.float32)
    np.testing.assert_array_equal(np.asarray(fused(images)), np.asarray(plain(images)))
