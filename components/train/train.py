"""Train one candidate: from a dataset to a network in Keras and ONNX that agree.

Out, in the candidate's folder: `model.keras`, `model.onnx`, `model.json` (what its outputs mean), `candidate.json` (its entry in the
recipe), `history.json` and `tensorboard/`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
from tensorboard.summary import Writer

from components.common.dataset import Dataset, Images
from components.common.progress import say
from components.common.recipe import Candidate, Mode, Recipe
from components.common.store import Record, artifact_digest
from components.common.weighting import weigh
from components.train.export import export_and_compare
from components.train.fitting import History, fine_tune, fit_from_scratch
from components.train.frozen import extract_features, fit_head
from components.train.network import build_network
from serving.predictor import CARD_FILE, MODEL_FILE, ModelCard

#: Real images on which the ONNX file must agree with Keras.
_NUM_PARITY_IMAGES = 64

Fit = Callable[[keras.Model, Dataset, Path, Recipe, Candidate, Path], tuple[dict[str, Any], History]]


def train(dataset: Dataset, views: Path, recipe: Recipe, candidate: Candidate, folder: Path) -> Record:
    """Train `candidate` on `dataset` and write it to `folder`.

    Args:
        dataset: Output of the fuse step.
        views: Output of the augment step; read by `frozen` training.
        recipe: The experiment.
        candidate: What to train.
        folder: Empty folder for the result.

    Raises:
        PawflowError: Training diverges, pretrained weights are missing, or the ONNX file disagrees with Keras.
    """
    keras.utils.set_random_seed(recipe.seed)
    cpu_started, started = time.process_time(), time.perf_counter()
    network = build_network(candidate, dataset.image_size, len(dataset.classes))
    params, history = FITS[candidate.mode](network, dataset, views, recipe, candidate, folder / "tensorboard")
    cpu_seconds, seconds = time.process_time() - cpu_started, time.perf_counter() - started

    network.save(folder / "model.keras")
    validation = dataset.images("validation")
    difference = export_and_compare(network, folder / MODEL_FILE, validation[:_NUM_PARITY_IMAGES])
    say(f"ONNX agrees with Keras to {difference:.1e} on {min(len(validation), _NUM_PARITY_IMAGES)} validation images")
    (folder / "history.json").write_text(json.dumps(history, indent=1))
    card = ModelCard(
        classes=tuple(dataset.classes),
        image_size=dataset.image_size,
        dataset_digest=dataset.digest,
        not_sure_below=recipe.not_sure_below,
        generated=bool(dataset.report["generated"]),
        resize=dataset.resize,
    )
    card.write(folder / CARD_FILE)
    (folder / "candidate.json").write_text(candidate.model_dump_json(indent=1))
    metrics = {
        "train.cpu_seconds": cpu_seconds,
        "train.seconds": seconds,
        "onnx_difference": difference,
        "num_parameters": float(network.count_params()),
        "onnx_bytes": float((folder / MODEL_FILE).stat().st_size),
    }
    params = {**candidate.model_dump(mode="json"), **params, "dataset_digest": dataset.digest}
    figures = ["model.keras", MODEL_FILE, CARD_FILE, "candidate.json", "history.json", "tensorboard"]
    return Record(params=params, metrics=metrics, curves=history, figures=figures)


def _fit_frozen(
    network: keras.Model, dataset: Dataset, views: Path, recipe: Recipe, candidate: Candidate, logs: Path
) -> tuple[dict[str, Any], History]:
    images = dataset.images("train")
    backbone = {"architecture": candidate.architecture, "options": candidate.options, "image_size": dataset.image_size}
    parts = [extract_features(network, images, {**backbone, "dataset": artifact_digest(dataset.folder)}, "features of the originals")]
    if recipe.augment.views:
        variants = Images(sorted(views.glob("train-*.npy")))
        parts.append(extract_features(network, variants, {**backbone, "views": artifact_digest(views)}, "features of the augmented views"))
    copies = 1 + recipe.augment.views
    labels, groups = np.tile(dataset.labels("train"), copies), list(dataset.rows("train")["group"]) * copies
    weights = np.tile(weigh(dataset.rows("train"), recipe.weights), copies)
    params, history = fit_head(network, np.concatenate(parts), labels, groups, recipe.seed, weights)
    _write_curves(history, logs)
    return params, history


def _fit_scratch(
    network: keras.Model, dataset: Dataset, views: Path, recipe: Recipe, candidate: Candidate, logs: Path
) -> tuple[dict[str, Any], History]:
    return {}, fit_from_scratch(network, dataset, recipe, candidate, logs)


def _fine_tune(
    network: keras.Model, dataset: Dataset, views: Path, recipe: Recipe, candidate: Candidate, logs: Path
) -> tuple[dict[str, Any], History]:
    return {}, fine_tune(network, dataset, recipe, candidate, logs)


def _write_curves(history: History, logs: Path) -> None:
    writer = Writer(str(logs))
    for name, values in history.items():
        for step, value in enumerate(values):
            writer.add_scalar(name, value, step)
    writer.close()


FITS: dict[Mode, Fit] = {
    "frozen": _fit_frozen,
    "fine_tune": _fine_tune,
    "scratch": _fit_scratch,
}
