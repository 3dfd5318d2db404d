from __future__ import annotations

import keras
import numpy as np
import pytest
from scipy.special import softmax

from components.common.candidate import Candidate
from components.common.dataset import Dataset
from components.train.calibration import calibrate, choose_thresholds, fit_temperature, state_calibration
from components.train.network import build_network, divide_head, with_class_activation


@pytest.mark.parametrize("num_classes", [2, 6])
@pytest.mark.parametrize("temperature", [0.4, 1.0, 3.0])
def test_the_temperature_that_spoilt_the_scores_is_found(temperature: float, num_classes: int) -> None:
    generator = np.random.default_rng(0)
    logits = 2 * generator.normal(size=(4000, num_classes))
    labels = np.array([generator.choice(num_classes, p=row) for row in softmax(logits, axis=1)])
    assert fit_temperature(temperature * logits, labels) == pytest.approx(temperature, rel=0.12)


@pytest.mark.parametrize("num_classes", [2, 5, 100])
def test_a_network_that_is_right_on_few_images_is_not_told_to_be_certain(num_classes: int) -> None:
    logits = np.tile([1.0] + (num_classes - 1) * [-1.0], (20, 1))
    sure = softmax(logits / fit_temperature(logits, np.zeros(20, np.int64)), axis=1)[0, 0]
    assert sure == pytest.approx((20 + 2 / num_classes) / 22, abs=0.01)


@pytest.mark.parametrize(("after", "is_worse"), [(0.062, True), (0.004, False)])
def test_a_log_loss_that_rises_is_explained(after: float, is_worse: bool) -> None:
    metrics = {"temperature": 1.72, "num_images": 33.0, "log_loss.before": 0.005, "log_loss.after": after}
    metrics |= {"calibration_error.before": 0.0, "calibration_error.after": 0.05}
    line = state_calibration({f"calibration.{name}": value for name, value in metrics.items()})
    assert line.startswith(f"temperature 1.72 on 33 validation images: log loss 0.005 -> {after:.3f}")
    assert line.endswith("(kept modest, for so few images)") == is_worse


def build() -> keras.Model:
    keras.utils.set_random_seed(0)
    return build_network(Candidate(name="c", architecture="simple_cnn", mode="scratch", options={"conv_layers": 2, "layer_size": 4}), 32, 2)


def test_dividing_the_head_divides_what_enters_the_softmax() -> None:
    network, images = build(), np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3)).astype(np.float32)
    before, activation = with_class_activation(network).predict_on_batch(images)
    divide_head(network, 2.5)
    after, divided = with_class_activation(network).predict_on_batch(images)
    np.testing.assert_allclose(divided, activation / 2.5, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(after, softmax(np.log(before) / 2.5, axis=1), rtol=1e-4)


def test_an_overconfident_network_is_cooled_and_calls_few_photos_unsure(dataset: Dataset) -> None:
    network = build()
    divide_head(network, 0.01)
    calibration = calibrate(network, dataset, 0.1)
    metrics = calibration.metrics
    assert metrics["calibration.log_loss.after"] < metrics["calibration.log_loss.before"]
    assert metrics["calibration.num_images"] == len(dataset.rows("validation"))
    probabilities = network.predict_on_batch(dataset.images("validation")[:].astype(np.float32))
    assert 0 < (probabilities.max(axis=1) < calibration.not_sure_below).mean() <= 0.1


@pytest.mark.parametrize("share", [0.0, 0.02, 0.1])
def test_thresholds_exclude_what_is_allowed_and_each_as_much_as_the_other(share: float) -> None:
    generator = np.random.default_rng(0)
    confidence, peak = generator.uniform(0.5, 1, 1000), generator.gamma(3, size=1000)
    low, weak = choose_thresholds(confidence, peak, share)
    excluded = [confidence < low, peak < weak]
    assert share - 0.002 <= (excluded[0] | excluded[1]).mean() <= share
    assert excluded[0].sum() == excluded[1].sum()


def test_equal_photos_are_not_excluded() -> None:
    confidence, peak = choose_thresholds(np.full(10, 0.9), np.full(10, 2.0), 0.05)
    assert (confidence, peak) == (0.9, 2.0)
