from __future__ import annotations

from typing import get_args

import keras
import numpy as np
import pytest

from components.common.candidate import Candidate, Optimizer, Schedule
from components.train.optimisers import OPTIMIZERS, SCHEDULES, last_rate, make_optimizer

STEPS, EPOCHS = 10, 12
CANDIDATE = Candidate(name="c", architecture="simple_cnn", mode="scratch")


def test_the_tables_have_what_recipes_may_name() -> None:
    assert set(OPTIMIZERS) == set(get_args(Optimizer))
    assert set(SCHEDULES) == set(get_args(Schedule))


@pytest.mark.parametrize(
    ("schedule", "rates"),
    [
        ("constant", {0: 1.0, 119: 1.0}),
        ("cosine", {0: 1.0, 60: 0.5, 120: 0.0}),
        ("step_decay", {0: 1.0, 49: 1.0, 50: 0.1, 99: 0.1, 100: 0.01}),
        # The peak comes at the end of the first quarter.
        ("one_cycle", {0: 1 / 30, 14: 0.5, 29: 1.0, 119: 1 / 91, 120: 0.0}),
    ],
)
def test_a_schedule_follows_its_curve(schedule: Schedule, rates: dict[int, float]) -> None:
    curve = SCHEDULES[schedule](1.0, STEPS, EPOCHS)
    found = {step: float(curve(step)) if callable(curve) else curve for step in rates}
    assert found == pytest.approx(rates, abs=1e-6)


@pytest.mark.parametrize(("schedule", "rates"), [("step_decay", [1.0, 0.1, 0.01]), ("one_cycle", [71 / 91, 21 / 91, 1 / 91])])
def test_the_rate_of_an_epoch_is_that_of_its_last_step(schedule: Schedule, rates: list[float]) -> None:
    candidate = CANDIDATE.model_copy(update={"schedule": schedule})
    assert [last_rate(candidate, 1.0, STEPS, EPOCHS, epoch) for epoch in (4, 9, 11)] == pytest.approx(rates, abs=1e-3)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimiser_lowers_a_loss(name: Optimizer) -> None:
    optimizer = make_optimizer(CANDIDATE.model_copy(update={"optimizer": name, "schedule": "constant"}), 0.01, STEPS, EPOCHS)
    weight = keras.Variable([1.0])
    for _ in range(5):
        optimizer.apply([2 * weight], [weight])
    assert 0 < float(weight.numpy()[0]) < 1


def test_weight_decay_spares_biases_and_normalisation() -> None:
    network = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, bias_initializer="ones"), keras.layers.BatchNormalization()])
    optimizer = make_optimizer(CANDIDATE.model_copy(update={"weight_decay": 0.5, "schedule": "constant"}), 0.1, STEPS, EPOCHS)
    before = [np.array(variable.numpy()) for variable in network.trainable_variables]
    optimizer.apply([keras.ops.zeros_like(variable) for variable in network.trainable_variables], network.trainable_variables)
    for variable, old in zip(network.trainable_variables, before, strict=True):
        expected = old * 0.95 if variable.name == "kernel" else old
        np.testing.assert_allclose(variable.numpy(), expected, rtol=1e-5, err_msg=variable.path)


def test_a_step_of_muon_is_as_long_in_every_direction_of_a_kernel() -> None:
    optimizer = make_optimizer(CANDIDATE.model_copy(update={"optimizer": "muon", "schedule": "constant"}), 0.1, STEPS, EPOCHS)
    kernel, bias = keras.Variable(np.zeros((3, 3, 2, 4)), dtype="float32"), keras.Variable(np.zeros(4), dtype="float32")
    gradient = np.random.default_rng(0).standard_normal((18, 4)) * [100, 10, 1, 0.1]
    optimizer.apply([keras.ops.convert_to_tensor(gradient.reshape(3, 3, 2, 4), "float32"), keras.ops.ones(4)], [kernel, bias])
    lengths = np.linalg.svd(np.reshape(kernel.numpy(), (18, 4)), compute_uv=False)
    assert lengths.max() < 3 * lengths.min()
    np.testing.assert_allclose(bias.numpy(), -0.1, rtol=1e-3)


def test_muon_leaves_depthwise_kernels_to_adam_whose_step_no_loud_channel_takes() -> None:
    optimizer = make_optimizer(CANDIDATE.model_copy(update={"optimizer": "muon", "schedule": "constant"}), 0.1, STEPS, EPOCHS)
    kernel = keras.Variable(np.zeros((3, 3, 4, 1)), dtype="float32")
    loudness = np.array([1000.0, 10.0, 1.0, 0.1]).reshape(4, 1)
    optimizer.apply([keras.ops.convert_to_tensor(np.ones((3, 3, 4, 1)) * loudness, "float32")], [kernel])
    np.testing.assert_allclose(kernel.numpy(), -0.1, rtol=1e-3)
