from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from components.common.candidate import OUT_OF_FOLD
from components.common.dataset import SPLITS, Dataset
from components.common.metrics import find_interval
from components.common.recipe import Metric, Recipe
from components.evaluate.evaluate import evaluate, flatten
from components.evaluate.leaderboard import rank
from components.evaluate.plots import FIGURES
from serving.predictor import MODEL_FILE
from tests.conftest import write_mean_model


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
        result = summary["candidates"][name]
        headline = test[test["source"] == "dogs-vs-cats"]
        assert result["headline"]["accuracy"]["n"] == len(headline) == summary["headline"]["n"]
        assert result["out_of_fold"] is None, "only frozen candidates have heads that had not seen an image"
        assert ("robustness" in result) == (name == summary["winner"])
        slices = result["slices"]
        assert set(slices["source"]) == {"dogs-vs-cats", "dog-breed-identification"}
        assert sum(values["n"] for values in slices["source"].values()) == len(test)
        breeds = (test["source"] == "dog-breed-identification").to_numpy()
        right, groups = (guesses == test["label"]).to_numpy(), test["group"].to_numpy(str)
        for estimate, chosen in ((result["test"]["accuracy"], breeds | True), (slices["source"]["dog-breed-identification"], breeds)):
            assert (estimate["low"], estimate["high"]) == pytest.approx(find_interval(right[chosen], groups[chosen]))
        assert 1 < len(set(groups[breeds])) < breeds.sum(), "the groups of this slice hold several images"
        assert slices["unconfounded"]["yes"]["n"] == int(dataset.rows("test")["unconfounded"].sum())
        assert (out / "figures" / name / "confusion_matrix.png").stat().st_size > 5000
        assert flatten(summary["candidates"][name])["test.accuracy"] == record.metrics[f"{name}.test.accuracy"]
    both = [summary["candidates"][name]["test"]["accuracy"]["value"] for name in folders]
    assert sum(both) == pytest.approx(1.0), "the two models are opposites"

    board = pd.read_csv(out / "leaderboard.csv", index_col="candidate")
    assert board.index[0] == max(folders, key=lambda name: summary["candidates"][name]["validation"]["accuracy"]["value"])
    assert list(summary["candidates"]) == list(board.index)
    for name in folders:
        assert board.loc[name, "accuracy"] == pytest.approx(summary["candidates"][name]["test"]["accuracy"]["value"], rel=1e-4)
    assert (board.loc["bright", "train_cpu_seconds"], board.loc["bright", "parameters"]) == (30, 2)
    assert board.loc["bright", "model_bytes"] == (folders["bright"] / MODEL_FILE).stat().st_size
    assert (out / "leaderboard.png").stat().st_size > 5000
    assert summary["suspects"] is None, "nor do others know whose label is in doubt"
    assert not list(out.glob("suspects.*"))
    drawn = {path.name for path in (out / "figures" / summary["winner"]).iterdir()}
    assert drawn == {*FIGURES, "worst_errors.png"}


def test_what_heads_that_had_not_seen_an_image_say_stands_beside_a_small_headline(dataset: Dataset, recipe: Recipe, tmp_path: Path) -> None:
    folder = write_mean_model(tmp_path / "frozen", dataset.image_size, 3.0)
    rows = pd.concat([dataset.rows(split) for split in SPLITS])
    first = rows.loc[rows["source"] == "dogs-vs-cats", "id"].iloc[0]
    dog = np.where((rows["label"] == "dog") ^ (rows["id"] == first), 0.9, 0.1)
    said = pd.DataFrame({"id": rows["id"], "fold": 0, "probability_cat": 1 - dog, "probability_dog": dog})
    said.sample(frac=1, random_state=0).to_parquet(folder / OUT_OF_FOLD, index=False)
    (tmp_path / "evaluation").mkdir()
    record = evaluate(dataset, {"frozen": folder}, recipe, tmp_path / "evaluation")
    found = json.loads((tmp_path / "evaluation" / "metrics.json").read_text())["candidates"]["frozen"]["out_of_fold"]
    num_images = int((rows["source"] == "dogs-vs-cats").sum())
    assert (found["accuracy"]["n"], found["accuracy"]["errors"]) == (num_images, 1)
    assert record.metrics["frozen.out_of_fold.accuracy"] == pytest.approx(1 - 1 / num_images)

    assert (record.metrics["suspects.called_otherwise"], record.metrics["suspects.undecided"]) == (1, 1)
    assert {"suspects.html", "suspects.csv"} <= set(record.figures)
    doubtful = pd.read_csv(tmp_path / "evaluation" / "suspects.csv")
    assert doubtful["id"].tolist() == [first]
    assert 'data-image="id: &#34;' + first in (tmp_path / "evaluation" / "suspects.html").read_text()


@pytest.mark.parametrize(("select", "first"), [("accuracy", "good"), ("log_loss", "sure")])
def test_the_leaderboard_is_in_the_order_of_the_selection(select: Metric, first: str) -> None:
    def estimates(accuracy: float, log_loss: float) -> dict[str, object]:
        values = {"accuracy": accuracy, "precision": 0.5, "recall": 0.5, "f1": 0.5, "roc_auc": 0.5, "log_loss": log_loss}
        return {name: {"value": value, "low": value, "high": value, "n": 10, "errors": 1} for name, value in values.items()}

    results = {
        name: {"validation": estimates(accuracy, log_loss), "test": estimates(0.5, 0.5), "latency_ms": 1.0}
        for name, accuracy, log_loss in (("poor", 0.6, 0.9), ("good", 0.9, 0.5), ("sure", 0.8, 0.2))
    }
    training = dict.fromkeys(("train.cpu_seconds", "train.gpu_seconds", "num_parameters", "onnx_bytes"), 1.0)
    assert rank(results, dict.fromkeys(results, training), select)["candidate"].iloc[0] == first
    with pytest.raises(KeyError):
        rank(results, {name: {} for name in results}, select)
