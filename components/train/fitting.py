"""Gradient training with Keras: `scratch`, and `fine_tune` in two phases.

Images come from the shards batch by batch and are varied on the fly, by the same function that makes the stored views, in an order
and with draws that follow from the recipe's seed.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from components.common.augmentation import vary
from components.common.dataset import Dataset, Images
from components.common.errors import PawflowError
from components.common.progress import say
from components.common.recipe import Augment, Candidate, Recipe
from components.common.weighting import weigh
from components.train.network import HEAD
from serving.images import Pixels

History = dict[str, list[float]]


class TrainingBatches(keras.utils.PyDataset):  # type: ignore[misc]
    """Shuffled batches of varied images; epoch e of a seed is always the same."""

    def __init__(
        self, images: Images, labels: NDArray[np.int64], policy: Augment, batch_size: int, seed: int, weights: NDArray[np.float64]
    ) -> None:
        super().__init__(workers=os.cpu_count() or 1, use_multiprocessing=False)
        self._images, self._labels, self._policy, self._batch_size, self._seed = images, labels, policy, batch_size, seed
        self._weights = weights.astype(np.float32)
        self._epoch = -1
        self.on_epoch_begin()

    def __len__(self) -> int:
        return math.ceil(len(self._images) / self._batch_size)

    def on_epoch_begin(self) -> None:
        """Shuffle anew."""
        self._epoch += 1
        self._order = np.random.default_rng([self._seed, self._epoch]).permutation(len(self._images))

    def __getitem__(self, index: int) -> tuple[Pixels, NDArray[np.int64], NDArray[np.float32]]:
        rows = self._order[index * self._batch_size : (index + 1) * self._batch_size]
        pixels = self._images.take(rows)
        for position, row in enumerate(rows):
            pixels[position] = vary(pixels[position], self._policy, self._seed, self._epoch, int(row))
        return pixels, self._labels[rows], self._weights[rows]


class PlainBatches(keras.utils.PyDataset):  # type: ignore[misc]
    """Unvaried batches in order, for validation."""

    def __init__(self, images: Images, labels: NDArray[np.int64], batch_size: int) -> None:
        super().__init__()
        self._images, self._labels, self._batch_size = images, labels, batch_size

    def __len__(self) -> int:
        return math.ceil(len(self._images) / self._batch_size)

    def __getitem__(self, index: int) -> tuple[Pixels, NDArray[np.int64]]:
        part = slice(index * self._batch_size, (index + 1) * self._batch_size)
        return self._images[part], self._labels[part]


class _Report(keras.callbacks.Callback):  # type: ignore[misc]
    """Says how each epoch went and how long the rest will take at most."""

    def __init__(self, phase: str, num_epochs: int) -> None:
        super().__init__()
        self._phase, self._num_epochs, self._started = phase, num_epochs, time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        logs = logs or {}
        left = (time.perf_counter() - self._started) / (epoch + 1) * (self._num_epochs - epoch - 1)
        say(
            f"{self._phase} epoch {epoch + 1}/{self._num_epochs}: loss {logs['loss']:.3f}, accuracy {logs['accuracy']:.3f}, "
            f"val loss {logs['val_loss']:.3f}, val accuracy {logs['val_accuracy']:.3f}; at most {left:.0f} s left"
        )


def fit_from_scratch(network: keras.Model, dataset: Dataset, recipe: Recipe, candidate: Candidate, logs: Path) -> History:
    """Train all weights; the best epoch's are kept."""
    return _fit(network, dataset, recipe, candidate, logs, phase="scratch", epochs=candidate.epochs, rate=candidate.learning_rate)


def fine_tune(network: keras.Model, dataset: Dataset, recipe: Recipe, candidate: Candidate, logs: Path) -> History:
    """Train the head, then also the layers from `candidate.unfreeze` on, at a lower rate.

    Batch normalisation stays as it was trained: its statistics of few images would be worse than those of ImageNet.

    Raises:
        PawflowError: No layer's name starts with `candidate.unfreeze`.
    """
    _freeze(network, lambda position, layer: layer.name == HEAD)
    head = _fit(
        network, dataset, recipe, candidate, logs / "head", phase="head", epochs=candidate.head_epochs, rate=candidate.learning_rate
    )
    names = [layer.name for layer in network.layers]
    first = next((position for position, name in enumerate(names) if name.startswith(candidate.unfreeze)), None)
    if first is None:
        known = sorted({name.split("_")[0] for name in names})
        raise PawflowError(
            f"candidate {candidate.name!r} unfreezes from {candidate.unfreeze!r}, but no layer starts so; prefixes: {', '.join(known)}"
        )
    _freeze(network, lambda position, layer: position >= first and not isinstance(layer, keras.layers.BatchNormalization))
    body = _fit(network, dataset, recipe, candidate, logs / "body", phase="body", epochs=candidate.epochs, rate=candidate.fine_tune_rate)
    return {name: head[name] + body[name] for name in head}


def _freeze(network: keras.Model, is_trained: Callable[[int, Any], bool]) -> None:
    for position, layer in enumerate(network.layers):
        layer.trainable = is_trained(position, layer)


def _fit(
    network: keras.Model, dataset: Dataset, recipe: Recipe, candidate: Candidate, logs: Path, *, phase: str, epochs: int, rate: float
) -> History:
    weights = weigh(dataset.rows("train"), recipe.weights)
    train = TrainingBatches(dataset.images("train"), dataset.labels("train"), recipe.augment, candidate.batch_size, recipe.seed, weights)
    validation = PlainBatches(dataset.images("validation"), dataset.labels("validation"), candidate.batch_size)
    network.compile(
        keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(rate, epochs * len(train))),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    history = network.fit(
        train,
        validation_data=validation,
        epochs=epochs,
        verbose=0,
        callbacks=[
            keras.callbacks.TerminateOnNaN(),
            keras.callbacks.EarlyStopping(patience=candidate.patience, restore_best_weights=True),
            keras.callbacks.TensorBoard(logs, write_graph=False, profile_batch=0),
            _Report(phase, epochs),
        ],
    )
    if not all(math.isfinite(loss) for loss in history.history["loss"]):
        raise PawflowError(f"candidate {candidate.name!r} diverged: its loss is no longer a number; lower its learning rate (now {rate:g})")
    return {name: [float(value) for value in values] for name, values in history.history.items()}
