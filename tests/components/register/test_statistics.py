from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest

from components.common.recipe import Metric
from components.register.statistics import bonett_price, count_disagreements, holm, mcnemar, measure_gain, newcombe


def answer(right: np.ndarray) -> np.ndarray:
    """Probabilities of two classes for images that are all of the first, sure where right and sure where wrong."""
    return np.where(right[:, np.newaxis], [0.9, 0.1], [0.1, 0.9])


def test_mcnemars_test_is_the_exact_one() -> None:
    assert mcnemar(6, 2) == pytest.approx(binomtest(6, 8).pvalue)
    assert mcnemar(0, 0) == 1.0
    assert mcnemar(0, 5, alternative="less") == pytest.approx(0.5**5)


def test_holms_adjustment() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.9, 0.5]) == [1.0, 1.0]
    assert holm([]) == []


def test_newcombes_interval_is_his() -> None:
    """Newcombe (1998), his example a: 56 of 70 against 48 of 80."""
    right, alone = (np.arange(70) < 56, np.arange(80) < 48), (np.arange(70), np.arange(80))
    found = newcombe(right, alone, 1)
    assert (found.value, found.low, found.high) == pytest.approx((0.2, 0.0524, 0.3339), abs=1e-4)
    assert newcombe(right, alone, 5).low < found.low
    assert newcombe(right, (alone[0] // 7, alone[1] // 8), 1).low < 0, "ten groups of each say less"


def test_models_that_never_disagree_are_not_known_to_be_equal() -> None:
    right = np.arange(100) % 10 > 0
    found = measure_gain("accuracy", np.zeros(100, np.int64), answer(right), answer(right), np.arange(100), 0)
    assert found.value == 0
    assert found.low < -0.01
    assert found.high > 0.01
    assert bonett_price(0, 0, 1000).low > -0.01


def test_a_gain_is_one_also_where_less_is_better() -> None:
    labels = np.zeros(200, np.int64)
    good, bad = answer(np.arange(200) % 20 > 0), answer(np.arange(200) % 2 > 0)
    metrics: tuple[Metric, ...] = ("accuracy", "log_loss")
    for metric in metrics:
        found = measure_gain(metric, labels, good, bad, np.arange(200), 0)
        assert 0 < found.low < found.value < found.high
    assert count_disagreements(labels, good, bad) == (90, 0)


def test_images_that_are_alike_count_once() -> None:
    """Two hundred images in four groups say less than two hundred images."""
    labels = np.zeros(200, np.int64)
    first, second = answer(np.arange(200) < 150), answer(np.arange(200) >= 150)
    alone = measure_gain("log_loss", labels, first, second, np.arange(200), 0)
    grouped = measure_gain("log_loss", labels, first, second, np.arange(200) // 50, 0)
    assert grouped.high - grouped.low > 3 * (alone.high - alone.low)


def test_the_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    generator = np.random.default_rng(0)
    labels, hits = np.zeros(150, np.int64), 0
    for seed in range(200):
        shared = generator.random(150) < 0.85
        first, second = (shared ^ (generator.random(150) < share) for share in (0.02, 0.08))
        found = measure_gain("accuracy", labels, answer(first), answer(second), np.arange(150), seed)
        # Of 85 % right, a share is turned wrong; of 15 % wrong, the same share right.
        hits += found.low <= 0.7 * (0.08 - 0.02) <= found.high
    assert hits / 200 >= 0.92
