from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn import metrics as sk

from components.common.bootstrap import RESAMPLED, Labels, Probabilities, draw_weights
from components.common.metrics import METRICS, estimate_accuracy, estimate_metrics, find_interval


def draw(num_classes: int, num_images: int = 300, seed: int = 0) -> tuple[Labels, Probabilities]:
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, num_classes, num_images)
    probabilities = np.eye(num_classes)[labels] * 0.3 + generator.dirichlet(np.ones(num_classes), num_images) * 0.7
    # Rounded, so that scores tie.
    probabilities = probabilities.round(2) + 0.001
    return labels, probabilities / probabilities.sum(axis=1, keepdims=True)


def test_two_classes_are_judged_as_scikit_learn_does() -> None:
    labels, probabilities = draw(2)
    guesses, scores = probabilities.argmax(axis=1), probabilities[:, 1]
    estimates = estimate_metrics(labels, probabilities, seed=0)
    assert estimates["roc_auc"]["value"] == pytest.approx(sk.roc_auc_score(labels, scores))
    both = [sk.average_precision_score(labels, scores), sk.average_precision_score(1 - labels, 1 - scores)]
    assert estimates["pr_auc"]["value"] == pytest.approx(np.mean(both))
    assert estimates["log_loss"]["value"] == pytest.approx(sk.log_loss(labels, scores))
    assert estimates["brier"]["value"] == pytest.approx(sk.brier_score_loss(labels, scores))
    assert estimates["f1"]["value"] == pytest.approx(sk.f1_score(labels, guesses, average="macro"))
    assert estimates["balanced_accuracy"]["value"] == pytest.approx(sk.balanced_accuracy_score(labels, guesses))
    assert estimates["accuracy"]["errors"] == int((guesses != labels).sum())
    for estimate in estimates.values():
        assert estimate["low"] <= estimate["value"] <= estimate["high"]
        assert estimate["n"] == 300


@pytest.mark.parametrize("num_classes", [2, 5])
@pytest.mark.parametrize("name", METRICS)
def test_a_resample_is_judged_as_its_images_would_be(name: str, num_classes: int) -> None:
    labels, probabilities = draw(num_classes)
    weights = draw_weights(np.arange(len(labels)), seed=1)[:20]
    drawn = [np.repeat(np.arange(len(labels)), row.astype(int)) for row in weights]
    expected = [METRICS[name](labels[rows], probabilities[rows]) for rows in drawn]
    np.testing.assert_allclose(RESAMPLED[name](labels, probabilities, weights), expected, rtol=1e-9)


def test_images_of_a_group_are_drawn_together() -> None:
    labels, probabilities = draw(2, 60)
    labels, probabilities = np.repeat(labels, 5), np.repeat(probabilities, 5, axis=0)
    together = draw_weights(np.arange(300) // 5, seed=0)
    assert (together.reshape(len(together), 60, 5).std(axis=2) == 0).all()
    spreads = [RESAMPLED["log_loss"](labels, probabilities, weights).std() for weights in (draw_weights(np.arange(300), seed=0), together)]
    assert spreads[1] > 1.6 * spreads[0], "repeated images are no further evidence"


@pytest.mark.parametrize(("confidence", "share_right", "expected"), [(0.9, 0.9, 0.0), (0.9, 0.5, 0.4), (0.6, 1.0, 0.4)])
def test_the_calibration_error_is_the_gap_between_promise_and_share(confidence: float, share_right: float, expected: float) -> None:
    labels = (np.arange(100) >= 100 * share_right).astype(np.int64)
    probabilities = np.tile([confidence, 1 - confidence], (100, 1))
    assert METRICS["calibration_error"](labels, probabilities) == pytest.approx(expected, abs=1e-9)


def test_intervals_hold_the_truth_about_as_often_as_they_say() -> None:
    generator = np.random.default_rng(1)
    hits = {"accuracy": 0, "brier": 0}
    labels = np.ones(120, np.int64)
    for seed in range(200):
        right = generator.random(120) < 0.9
        probabilities = np.where(right[:, np.newaxis], [0.1, 0.9], [0.9, 0.1])
        estimate = estimate_accuracy(labels, probabilities, None)
        hits["accuracy"] += estimate["low"] <= 0.9 <= estimate["high"]
        low, high = np.percentile(RESAMPLED["brier"](labels, probabilities, draw_weights(np.arange(120), seed)), [2.5, 97.5])
        hits["brier"] += low <= 0.9 * 0.01 + 0.1 * 0.81 <= high
    assert all(0.9 <= num / 200 <= 0.99 for num in hits.values()), hits


@pytest.mark.parametrize("num_right", [0, 1, 117, 120])
@pytest.mark.parametrize("groups", [None, np.arange(120), np.zeros(120)])
def test_where_no_group_has_several_images_or_all_are_one_the_interval_is_wilsons(num_right: int, groups: np.ndarray | None) -> None:
    wilson = binomtest(num_right, 120).proportion_ci(0.99, method="wilson")
    low, high = find_interval(np.arange(120) < num_right, groups, 0.99)
    assert (low, high) == pytest.approx((wilson.low, wilson.high), abs=1e-12)
    assert low <= num_right / 120 <= high


@pytest.mark.parametrize("sizes", [[25] * 20, [20] * 40, [50] * 5, [100, 50, 25, *[5] * 20, *[1] * 40]])
def test_the_interval_of_the_accuracy_holds_the_truth_where_images_of_a_group_err_together(sizes: list[int]) -> None:
    """Groups of which some are harder than others: Wilson's interval alone holds the truth 60 to 85 times in a hundred."""
    generator, groups = np.random.default_rng(0), np.repeat(np.arange(len(sizes)), sizes)
    hits = too_high = 0
    for _ in range(300):
        right = generator.random(len(groups)) < generator.beta(9, 1, len(sizes))[groups]
        low, high = find_interval(right, groups)
        hits, too_high = hits + (low <= 0.9 <= high), too_high + (low > 0.9)
    assert hits / 300 >= 0.9
    assert too_high / 300 <= 0.06


def test_the_accuracy_of_all_metrics_knows_the_groups() -> None:
    labels, probabilities = np.zeros(200, np.int64), np.where(np.arange(200)[:, np.newaxis] < 150, [0.9, 0.1], [0.1, 0.9])
    alone, grouped = (estimate_metrics(labels, probabilities, 0, groups)["accuracy"] for groups in (None, np.arange(200) // 10))
    assert grouped["low"] < alone["low"] - 0.1
    assert (grouped["value"], grouped["n"], grouped["errors"]) == (0.75, 200, 50)


def test_one_class_alone_has_no_areas_and_everything_else() -> None:
    estimates = estimate_metrics(np.zeros(5, np.int64), np.tile([0.6, 0.4], (5, 1)), seed=0)
    assert {name for name, estimate in estimates.items() if math.isnan(estimate["value"])} == {"roc_auc", "pr_auc"}
