"""Train one candidate: from a dataset to a network in Keras and ONNX that agree.

Out, in the candidate's folder: `model.keras`, `model.onnx`, `model.json` (what its outputs mean), `candidate.json` (its entry in the
recipe), `history.json` and `tensorboard/`; `model.int8.onnx` if the candidate asks for it, and `out_of_fold.parquet` if it is `frozen`.
"""

from __future__ import annotations

import json
import time
from pathlib import Path

import keras
from tensorboard.summary import Writer

from components.common.candidate import OUT_OF_FOLD, Candidate
from components.common.dataset import Dataset
from components.common.errors import PawflowError
from components.common.files import CANDIDATE_FILE
from components.common.progress import say
from components.common.recipe import Recipe
from components.common.store import Record
from components.train.calibration import calibrate
from components.train.checkpoints import Checkpoints
from components.train.devices import forbid_tf32
from components.train.export import export_and_compare
from components.train.fitting import Fitted, History, fit
from components.train.frozen import fit_frozen
from components.train.network import build_network
from components.train.out_of_fold import predict_out_of_fold
from components.train.quantization import compare_labels, quantize, sample_for_calibration
from serving.predictor import CARD_FILE, INT8_FILE, MODEL_FILE, ModelCard

#: Real images on which the ONNX file must agree with Keras.
_NUM_PARITY_IMAGES = 64


def train(
    dataset: Dataset, views: Path, recipe: Recipe, candidate: Candidate, folder: Path, checkpoints: Checkpoints | None = None
) -> Record:
    """Train `candidate` on `dataset` and write it to `folder`.

    Args:
        dataset: Output of the fuse step.
        views: Output of the augment step; read by `frozen` training.
        recipe: The experiment.
        candidate: What to train.
        folder: Empty folder for the result.
        checkpoints: Where gradient training keeps its state, and continues from; None to keep none.

    Raises:
        PawflowError: Training diverges, pretrained weights are missing, or the ONNX file disagrees with Keras.
        StoppedError: A signal asked to stop.
    """
    keras.utils.set_random_seed(recipe.seed)
    fitted = fit_candidate(dataset, views, recipe, candidate, checkpoints)
    network = fitted.network
    # The temperature, the thresholds and the comparison with ONNX are to be of what is served.
    forbid_tf32(candidate)
    _write_curves(fitted.history, folder / "tensorboard")
    calibration = calibrate(network, dataset, recipe.not_sure_share)
    # Before the export, which leaves much of its memory behind.
    if candidate.mode == "frozen":
        predicted = predict_out_of_fold(dataset, views, recipe, candidate, fitted.params, calibration.temperature)
        predicted.to_parquet(folder / OUT_OF_FOLD, index=False)
    network.save(folder / "model.keras")
    try:
        exported = _export(network, dataset, candidate, folder)
    except PawflowError:
        # What was trained is of no use, so nobody should continue from it.
        if checkpoints:
            checkpoints.clear()
        raise
    (folder / "history.json").write_text(json.dumps(fitted.history, indent=1))
    card = ModelCard(
        classes=tuple(dataset.classes),
        image_size=dataset.image_size,
        dataset_digest=dataset.digest,
        not_sure_below=calibration.not_sure_below,
        generated=bool(dataset.report["generated"]),
        resize=dataset.resize,
        unfamiliar_below=calibration.unfamiliar_below,
        temperature=calibration.temperature,
    )
    card.write(folder / CARD_FILE)
    (folder / CANDIDATE_FILE).write_text(candidate.model_dump_json(indent=1))
    metrics = {
        "train.cpu_seconds": fitted.cpu_seconds,
        "train.seconds": fitted.seconds,
        "train.gpu_seconds": fitted.gpu_seconds,
        "num_parameters": float(network.count_params()),
        **exported,
        **calibration.metrics,
    }
    params = {**candidate.model_dump(mode="json"), **fitted.params, "dataset_digest": dataset.digest}
    figures = [path.name for path in sorted(folder.iterdir())]
    return Record(params=params, metrics=metrics, curves=fitted.history, figures=figures)


def _export(network: keras.Model, dataset: Dataset, candidate: Candidate, folder: Path) -> dict[str, float]:
    """Write the network in ONNX, and in 8 bits if the candidate asks for it; returns what is to be known of both."""
    validation, exact = dataset.images("validation"), folder / MODEL_FILE
    difference = export_and_compare(network, exact, validation[:_NUM_PARITY_IMAGES])
    say(f"ONNX agrees with Keras to {difference:.1e} on {min(len(validation), _NUM_PARITY_IMAGES)} validation images")
    metrics = {"onnx_difference": difference, "onnx_bytes": float(exact.stat().st_size)}
    if candidate.int8:
        quantize(exact, folder / INT8_FILE, sample_for_calibration(dataset))
        metrics |= compare_labels(exact, folder / INT8_FILE, validation)
    return metrics


def fit_candidate(dataset: Dataset, views: Path, recipe: Recipe, candidate: Candidate, checkpoints: Checkpoints | None) -> Fitted:
    """The part of `train` that learns, in the candidate's mode; arguments and errors are those of `train`."""
    if candidate.mode != "frozen":
        return fit(dataset, recipe, candidate, checkpoints)
    cpu_started, started = time.process_time(), time.perf_counter()
    network = build_network(candidate, dataset.image_size, len(dataset.classes))
    params, history, cpu_seconds_before = fit_frozen(network, dataset, views, recipe, candidate)
    # So that it hardly matters which of two candidates with the same features came first.
    cpu_seconds = cpu_seconds_before + time.process_time() - cpu_started
    return Fitted(network, params, history, time.perf_counter() - started, cpu_seconds)


def _write_curves(history: History, logs: Path) -> None:
    """For TensorBoard: training and validation as two runs, so that it draws both into one diagram."""
    for prefix, run in (("", "train"), ("val_", "validation")):
        curves = {name: values for name, values in history.items() if name.startswith("val_") == bool(prefix)}
        if curves:
            writer = Writer(str(logs / run))
            for name, values in curves.items():
                for step, value in enumerate(values):
                    writer.add_scalar(name.removeprefix(prefix), value, step)
            writer.close()
