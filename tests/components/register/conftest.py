"""What the tests of registration share: candidates with their evaluation, as the steps before would have left them."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
import pandas as pd
import pytest
from onnx import helper

from components.common.confounding import find_clean
from components.common.dataset import Dataset
from components.common.files import PREDICTIONS_FILE
from components.common.metrics import estimate_metrics
from components.common.recipe import Recipe
from components.register.answers import read_predictions
from serving.predictor import INT8_FILE, MODEL_FILE, Predictor
from tests.conftest import write_mean_model

CANDIDATE = {"name": "cnn", "architecture": "simple_cnn", "mode": "scratch"}


@dataclass(frozen=True)
class Evaluated:
    """One candidate and its evaluation, on disk."""

    candidate: Path
    evaluation: Path


def evaluate_model(folder: Path, dataset: Dataset, bias: float) -> Evaluated:
    """A candidate that answers by the mean of the pixels and by a leaning to dogs, and its evaluation."""
    candidate, evaluation = write_mean_model(folder / "candidate", dataset.image_size, 1.0, bias=bias), folder / "evaluation"
    (candidate / "candidate.json").write_text(json.dumps(CANDIDATE))
    (candidate / "artifact.json").write_text(json.dumps({"files": {"bias": bias}, "record": {"metrics": {"train.cpu_seconds": 3.0}}}))
    evaluation.mkdir()
    predictor = Predictor(candidate)
    frames = []
    for split in ("validation", "test"):
        rows, images = dataset.rows(split), dataset.images(split)
        scores = [predictor.score(images[row]) for row in range(len(images))]
        probabilities = pd.DataFrame(scores, columns=[f"probability_{name}" for name in dataset.classes])
        frames.append(rows[["id", "split", "source", "breed", "label"]].assign(candidate="cnn").join(probabilities))
    pd.concat(frames).to_parquet(evaluation / PREDICTIONS_FILE, index=False)
    result: dict[str, Any] = {"latency_ms": 1.0}
    for split in ("validation", "test"):
        answers = read_predictions(evaluation / PREDICTIONS_FILE, split, dataset, find_clean(dataset, split))["cnn"]
        result[split] = estimate_metrics(answers.labels, answers.probabilities, 0)
    headline = {"words": "of every kind", "caveat": "all are drawn"}
    result |= {"headline": result["test"], "headline_is": headline}
    (evaluation / "metrics.json").write_text(json.dumps({"headline": headline, "candidates": {"cnn": result}}))
    return Evaluated(candidate, evaluation)


@pytest.fixture
def one_candidate(recipe: Recipe) -> Recipe:
    """The shared recipe with one candidate, and a gate that small and poor models can pass."""
    gate = recipe.gate.model_copy(update={"max_log_loss": 100.0})
    return recipe.model_copy(update={"candidates": recipe.candidates[:1], "gate": gate})


def add_int8(candidate: Path, dataset: Dataset, bias: float) -> None:
    """Give a candidate an 8-bit network, in name only: it answers by another `bias`, and float32 takes many times as long."""
    other = write_mean_model(candidate.parent / "other", dataset.image_size, 1.0, bias=bias)
    shutil.copy(other / MODEL_FILE, candidate / INT8_FILE)
    network = onnx.load(candidate / MODEL_FILE)
    places = [place for place, node in enumerate(network.graph.node) if "scaled" in node.output]
    network.graph.node[places[0]].output[0] = "detour0"
    detour = [
        helper.make_node(operation, [f"detour{number}"], [f"detour{number + 1}" if number < 59 else "scaled"])
        for number, operation in enumerate(["Atan", "Tan"] * 30)
    ]
    nodes = [*network.graph.node[: places[0] + 1], *detour, *network.graph.node[places[0] + 1 :]]
    del network.graph.node[:]
    network.graph.node.extend(nodes)
    onnx.save(network, candidate / MODEL_FILE)
