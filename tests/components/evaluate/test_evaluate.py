from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as sk

from components.common.dataset import Dataset
from components.common.metrics import METRICS, estimate_accuracy, estimate_metrics
from components.common.recipe import Recipe
from components.evaluate.evaluate import evaluate, flatten
from tests.conftest import write_mean_model


def test_metrics_are_those_of_scikit_learn() -> None:
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 2, 200)
    scores = np.clip(0.3 * labels + generator.random(200) * 0.7, 0.01, 0.99)
    estimates = estimate_metrics(labels, np.column_stack([1 - scores, scores]), seed=0)
    assert estimates["roc_auc"]["value"] == pytest.approx(sk.roc_auc_score(labels, scores))
    assert estimates["log_loss"]["value"] == pytest.approx(sk.log_loss(labels, scores))
    assert estimates["f1"]["value"] == pytest.approx(sk.f1_score(labels, scores > 0.5, average="macro"))
    assert estimates["accuracy"]["errors"] == int(((scores > 0.5) != labels).sum())
    for estimate in estimates.values():
        assert estimate["low"] <= estimate["value"] <= estimate["high"]
        assert estimate["n"] == 200


def test_many_classes_are_judged_too() -> None:
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 5, 300)
    probabilities = np.eye(5)[labels] * 0.5 + generator.dirichlet(np.ones(5), 300) * 0.5
    assert METRICS["roc_auc"](labels, probabilities) > 0.9
    assert METRICS["accuracy"](labels, probabilities) > 0.9


def test_the_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    generator = np.random.default_rng(1)
    hits = 0
    for _ in range(300):
        right = generator.random(120) < 0.9
        estimate = estimate_accuracy(np.ones(120, np.int64), np.column_stack([~right, right]).astype(float))
        hits += estimate["low"] <= 0.9 <= estimate["high"]
    assert 0.91 <= hits / 300 <= 0.99


def test_one_class_alone_has_no_roc_auc() -> None:
    assert math.isnan(METRICS["roc_auc"](np.zeros(5, np.int64), np.full((5, 2), 0.5)))


def test_candidates_are_judged_through_the_served_file(dataset: Dataset, recipe: Recipe, tmp_path: Path) -> None:
    folders = {name: write_mean_model(tmp_path / name, dataset.image_size, weight) for name, weight in (("bright", 3.0), ("dark", -3.0))}
    out = tmp_path / "evaluation"
    out.mkdir()
    record = evaluate(dataset, folders, recipe, out)
    summary = json.loads((out / "metrics.json").read_text())
    assert summary["generated"] is True
    predictions = pd.read_parquet(out / "predictions.parquet")
    for name in folders:
        test = predictions.query("candidate == @name and split == 'test'")
        guesses = np.where(test["probability_dog"] > test["probability_cat"], "dog", "cat")
        assert summary["candidates"][name]["test"]["accuracy"]["value"] == pytest.approx((guesses == test["label"]).mean())
        slices = summary["candidates"][name]["slices"]
        assert set(slices["source"]) == {"dogs-vs-cats", "dog-breed-identification"}
        assert sum(values["n"] for values in slices["source"].values()) == len(test)
        assert slices["unconfounded"]["yes"]["n"] == int(dataset.rows("test")["unconfounded"].sum())
        assert (out / "figures" / name / "confusion_matrix.png").stat().st_size > 5000
        assert flatten(summary["candidates"][name])["test.accuracy"] == record.metrics[f"{name}.test.accuracy"]
    both = [summary["candidates"][name]["test"]["accuracy"]["value"] for name in folders]
    assert sum(both) == pytest.approx(1.0), "the two models are opposites"
