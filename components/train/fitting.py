"""Gradient training with Keras: `scratch` in one phase, `fine_tune` in two.

In: a dataset, a candidate, and where its checkpoints are. Out: a trained network and what its training came to. The phases differ in which
layers learn and at what rate; a training that was stopped skips the phases that it had finished.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from typing import Any

import keras

from components.common.candidate import Candidate, Mode
from components.common.dataset import Dataset
from components.common.errors import PawflowError
from components.common.recipe import Recipe
from components.train.batches import TrainingBatches, ValidationBatches
from components.train.checkpoints import Checkpoints
from components.train.devices import find_scope, num_gpus
from components.train.epochs import run_phase
from components.train.models import ARCHITECTURES, initialize, parts
from components.train.network import HEAD, build_network
from components.train.normalisation import fuse_normalisation
from components.train.optimisers import make_optimizer
from components.train.session import Session

History = dict[str, list[float]]

#: Of the training images, at most, that first weights may depend on.
_INITIAL_BATCH, _NUM_INITIAL_BATCHES = 50, 100


@dataclass(frozen=True)
class Fitted:
    """A trained network and what to report about its training.

    Attributes:
        network: Computes in float32 on one device.
        params: For MLflow.
        history: Metric -> its values.
        seconds: On the wall.
        cpu_seconds: Of all cores; with what an earlier training spent on features that this one found.
        gpu_seconds: Seconds on the wall times GPUs.
    """

    network: keras.Model
    params: dict[str, Any]
    history: History
    seconds: float
    cpu_seconds: float
    gpu_seconds: float = 0.0


@dataclass(frozen=True)
class _Phase:
    name: str
    num_epochs: int
    rate: float
    is_trained: Callable[[keras.layers.Layer], bool] = lambda layer: True


def fit(dataset: Dataset, recipe: Recipe, candidate: Candidate, checkpoints: Checkpoints | None) -> Fitted:
    """Train a candidate by gradients, or go on where an earlier process stopped.

    Args:
        dataset: Output of the fuse step.
        recipe: The experiment.
        candidate: In mode `scratch` or `fine_tune`.
        checkpoints: Where its state is kept; None to keep none.

    Raises:
        PawflowError: Training diverges, or the layers to unfreeze are not there.
        StoppedError: A signal asked to stop.
    """
    session = Session(checkpoints)
    scope = find_scope(candidate)
    with scope():
        network = _build(dataset, candidate)
    train, validation = TrainingBatches(dataset, recipe, candidate), ValidationBatches(dataset, candidate)
    phases, progress = PHASES[candidate.mode](network, candidate), session.progress
    names = [phase.name for phase in phases]
    for phase in phases[names.index(progress.phase) if progress.phase else 0 :]:
        with scope():
            _prepare(network, candidate, phase, train.num_in_epoch)
        run_phase(network, train, validation, candidate, session, phase=phase.name, num_epochs=phase.num_epochs)
        if progress.reached:
            break
    # Built anew: without optimiser, on one device, and in float32 whatever it was trained in.
    plain = build_network(candidate, dataset.image_size, len(dataset.classes))
    plain.set_weights(network.get_weights())
    session.clock()
    gpus = num_gpus(candidate)
    params = {"resumed": progress.num_resumed, "gpus": gpus, "epochs_trained": len(progress.history["loss"])}
    return Fitted(plain, params, progress.history, progress.seconds, progress.cpu_seconds, progress.seconds * gpus)


def _build(dataset: Dataset, candidate: Candidate) -> keras.Model:
    keras.config.set_dtype_policy(candidate.precision)
    try:
        # Twice the work for no more to learn from: varied images are mirrored half of the time.
        network = build_network(candidate.model_copy(update={"flip_tta": False}), dataset.image_size, len(dataset.classes))
        if candidate.mode == "scratch":
            initialize(network, candidate, islice(dataset.images("train").batches(_INITIAL_BATCH), _NUM_INITIAL_BATCHES))
        return fuse_normalisation(network) if candidate.backend == "tensorflow" else network
    finally:
        keras.config.set_dtype_policy("float32")


def _prepare(network: keras.Model, candidate: Candidate, phase: _Phase, steps_per_epoch: int) -> None:
    for layer in network.layers:
        layer.trainable = phase.is_trained(layer)
    network.compile(
        make_optimizer(candidate, phase.rate, steps_per_epoch, phase.num_epochs),
        loss="categorical_crossentropy",
        metrics=["accuracy"],
        jit_compile=candidate.jit_compile,
    )
    network.optimizer.build(network.trainable_variables)


def _scratch(network: keras.Model, candidate: Candidate) -> list[_Phase]:
    fixed = {layer.name for layer in network.layers if not layer.trainable}
    return [_Phase("scratch", candidate.epochs, candidate.learning_rate, lambda layer: layer.name not in fixed)]


def _fine_tune(network: keras.Model, candidate: Candidate) -> list[_Phase]:
    """The head, then also the last layers as `candidate.unfreeze` says, at a lower rate.

    Batch normalisation stays as it was trained: its statistics of few images would be worse than those of ImageNet. In Keras a frozen
    BatchNormalization also runs in inference mode.
    """
    thawed = _last_layers(network, candidate)
    return [
        _Phase("head", candidate.head_epochs, candidate.learning_rate, lambda layer: layer.name == HEAD),
        _Phase("body", candidate.epochs, candidate.fine_tune_rate, lambda layer: layer.name in thawed),
    ]


def _last_layers(network: keras.Model, candidate: Candidate) -> set[str]:
    """Names of the layers that learn after the head: of each network those from a prefix on, or so many before the head; and the head."""
    layers = [layer.name for layer in network.layers]
    body, where = layers[: layers.index("dropout")], f"candidate {candidate.name!r} unfreezes"
    if isinstance(candidate.unfreeze, int):
        if not 1 <= candidate.unfreeze <= len(body):
            raise PawflowError(f"{where} {candidate.unfreeze} layers; expected 1 to {len(body)}, which {candidate.architecture} has")
        thawed = set(body[-candidate.unfreeze :])
    else:
        networks, thawed = parts(candidate), set()
        for part in networks:
            # In a graph of several networks their layers alternate.
            own = body if len(networks) == 1 else [name for name in body if name.endswith(f"_{part.architecture}")]
            prefix = candidate.unfreeze or ARCHITECTURES[part.architecture].last_block
            first = next((position for position, name in enumerate(own) if name.startswith(prefix)), len(own))
            thawed.update(own[first:])
        if not thawed:
            known = ", ".join(sorted({name.split("_")[0] for name in body}))
            raise PawflowError(f"{where} from {candidate.unfreeze!r}, but no layer starts so; prefixes: {known}")
    thawed -= {layer.name for layer in network.layers if isinstance(layer, keras.layers.BatchNormalization)}
    if not any(network.get_layer(name).weights for name in thawed):
        raise PawflowError(f"{where} {candidate.unfreeze!r}, of which nothing learns: batch normalisation stays as it is; unfreeze more")
    return thawed | set(layers[len(body) :])


PHASES: dict[Mode, Callable[[keras.Model, Candidate], list[_Phase]]] = {"scratch": _scratch, "fine_tune": _fine_tune}
