"""Judge every candidate on images that it has not seen, through the ONNX file and the code that will serve it.

Out: `metrics.json` (candidate -> split -> metric with interval, slices, latency), `predictions.parquet` (one row per candidate and
image) and figures for each candidate.
"""

from __future__ import annotations

import json
import os
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from components.common.dataset import Dataset
from components.common.figures import save_contact_sheet
from components.common.metrics import Probabilities, estimate_accuracy, estimate_metrics
from components.common.progress import say, track
from components.common.recipe import Recipe
from components.common.store import Record
from components.evaluate import plots
from serving.predictor import Predictor

METRICS_FILE = "metrics.json"
PREDICTIONS_FILE = "predictions.parquet"
_JUDGED_SPLITS = ("validation", "test")
#: Slices smaller than this say nothing; they are counted but not judged.
_SMALLEST_SLICE = 5
_NUM_TIMED = 30


def evaluate(dataset: Dataset, candidates: dict[str, Path], recipe: Recipe, folder: Path) -> Record:
    """Judge the candidates (name -> folder) on the validation and test splits of `dataset`."""
    results: dict[str, Any] = {}
    predictions: list[pd.DataFrame] = []
    for name, candidate in candidates.items():
        predictor = Predictor(candidate)
        frames = {split: _predict(predictor, dataset, split, name) for split in _JUDGED_SPLITS}
        predictions += frames.values()
        results[name] = _judge(frames, dataset, recipe) | {"latency_ms": _time(predictor, dataset)}
        _draw(frames["test"], dataset, name, folder / "figures" / name)
        accuracy = results[name]["test"]["accuracy"]
        say(f"{name}: {accuracy['errors']} errors in {accuracy['n']} test images, accuracy {_percent(accuracy)}")
    pd.concat(predictions).to_parquet(folder / PREDICTIONS_FILE, index=False)
    generated = bool(dataset.report["generated"])
    summary = {"generated": generated, "dataset_digest": dataset.digest, "classes": dataset.classes, "candidates": results}
    (folder / METRICS_FILE).write_text(json.dumps(summary, indent=1))
    title = f"test split, n = {len(dataset.rows('test'))}{_suffix(dataset)}"
    plots.save_comparison(
        {name: result["test"]["accuracy"] for name, result in results.items()}, "accuracy", title, folder / "accuracy.png"
    )
    metrics = {f"{name}.{key}": value for name, result in results.items() for key, value in flatten(result).items()}
    return Record(
        params={"dataset_digest": dataset.digest, "num_test": len(dataset.rows("test"))},
        metrics=metrics,
        tags={"pawflow.generated": str(generated).lower()},
        figures=["accuracy.png", "figures", METRICS_FILE],
    )


def flatten(result: dict[str, Any]) -> dict[str, float]:
    """One candidate's result as MLflow metrics: `test.accuracy`, `test.accuracy.low`, ..., `latency_ms`."""
    metrics = {"latency_ms": float(result["latency_ms"])}
    for split in _JUDGED_SPLITS:
        for name, estimate in result[split].items():
            metrics |= {
                f"{split}.{name}": estimate["value"],
                f"{split}.{name}.low": estimate["low"],
                f"{split}.{name}.high": estimate["high"],
            }
    for column, slices in result["slices"].items():
        metrics |= {f"test.{column}.{value}.accuracy": estimate["value"] for value, estimate in slices.items() if "value" in estimate}
    return {name: value for name, value in metrics.items() if np.isfinite(value)}


def _predict(predictor: Predictor, dataset: Dataset, split: str, candidate: str) -> pd.DataFrame:
    images = dataset.images(split)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        scores = pool.map(lambda row: predictor.score(images[row]), range(len(images)))
        probabilities = np.stack(list(track(scores, f"{candidate}: predicting {split}", total=len(images))))
    frame = dataset.rows(split)[["id", "split", "source", "breed", "label", "unconfounded"]].copy()
    frame["unconfounded"] = np.where(frame["unconfounded"], "yes", "no")
    frame.insert(0, "candidate", candidate)
    for number, name in enumerate(dataset.classes):
        frame[f"probability_{name}"] = probabilities[:, number]
    return frame


def _probabilities(frame: pd.DataFrame, classes: list[str]) -> Probabilities:
    # Softmax in single precision sums to 1 only roughly, and scikit-learn warns of that.
    values = frame[[f"probability_{name}" for name in classes]].to_numpy(np.float64)
    return np.asarray(values / values.sum(axis=1, keepdims=True))


def _judge(frames: dict[str, pd.DataFrame], dataset: Dataset, recipe: Recipe) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for split, frame in frames.items():
        result[split] = estimate_metrics(dataset.labels(split), _probabilities(frame, dataset.classes), recipe.seed)
    test, labels = frames["test"], dataset.labels("test")
    result["slices"] = {column: {} for column in ("source", "breed", "unconfounded")}
    for column, slices in result["slices"].items():
        for value, rows in test.dropna(subset=[column]).groupby(column):
            enough = len(rows) >= _SMALLEST_SLICE
            slices[value] = estimate_accuracy(labels[rows.index], _probabilities(rows, dataset.classes)) if enough else {"n": len(rows)}
    return result


def _time(predictor: Predictor, dataset: Dataset) -> float:
    """Median milliseconds of one image on one thread, decoding apart."""
    pixels = dataset.images("validation")[0]
    times = []
    for _ in range(_NUM_TIMED):
        started = time.perf_counter()
        predictor.score(pixels)
        times.append(1000 * (time.perf_counter() - started))
    return statistics.median(times)


def _draw(test: pd.DataFrame, dataset: Dataset, name: str, folder: Path) -> None:
    folder.mkdir(parents=True)
    labels, probabilities = dataset.labels("test"), _probabilities(test, dataset.classes)
    title = f"{name}, n = {len(labels)}{_suffix(dataset)}"
    plots.save_confusion_matrix(labels, probabilities, dataset.classes, title, folder / "confusion_matrix.png")
    plots.save_roc(labels, probabilities, dataset.classes, title, folder / "roc.png")
    wrong = np.flatnonzero(probabilities.argmax(axis=1) != labels)
    worst = wrong[np.argsort(probabilities[wrong, labels[wrong]])][:24]
    if len(worst):
        images = list(dataset.images("test").take(worst))
        captions = [
            f"{Path(test['id'].iloc[row]).stem}\n{dataset.classes[labels[row]]} at {probabilities[row, labels[row]]:.3f}" for row in worst
        ]
        save_contact_sheet(images, captions, folder / "worst_errors.png", title=f"{title}: {len(wrong)} errors, the surest first")


def _suffix(dataset: Dataset) -> str:
    return " (generated images)" if dataset.report["generated"] else ""


def _percent(estimate: dict[str, float]) -> str:
    return f"{100 * estimate['value']:.1f} % ({100 * estimate['low']:.1f} to {100 * estimate['high']:.1f})"
