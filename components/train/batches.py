"""Batches for training and validation, straight from the shards.

In: memory-mapped uint8 pixels, labels, and for training a policy of variation and weights. Out: uint8 pixels (the network itself converts
and scales them), one-hot labels, weights. What epoch e of a seed consists of depends on nothing else, so training can start again in the
middle of an epoch.
"""

from __future__ import annotations

import math

import keras
import numpy as np
from numpy.typing import NDArray

from components.common.augmentation import draw, vary
from components.common.candidate import Candidate
from components.common.dataset import Dataset
from components.common.recipe import Augment, Recipe
from components.common.weighting import weigh
from serving.images import Pixels

Floats = NDArray[np.float32]

_STILL = Augment(flip=False)
#: Keeps the random numbers of an epoch's order apart from those of its variations.
_ORDER = 1


class TrainingBatches(keras.utils.PyDataset):  # type: ignore[misc]
    """One epoch of shuffled, varied images, from `first` on.

    All batches have the same size, but for one image. What batch normalisation remembers for validation leans on the last batch, and one of
    the few images that happen to be left makes validation swing while the rate is high.
    The labels are smoothed here and not in the loss, so that the loss on validation images stays the log-loss of their true labels.
    """

    def __init__(self, dataset: Dataset, recipe: Recipe, candidate: Candidate) -> None:
        # With TensorFlow one thread is ahead of training, with PyTorch none. With more, Keras keeps a queue that several iterators share,
        # and with several devices the batches that one of them takes are missing from the epoch.
        super().__init__(workers=1)
        self._images = dataset.images("train")
        self._labels = one_hot(dataset, "train") * (1.0 - candidate.label_smoothing) + candidate.label_smoothing / len(dataset.classes)
        self._weights = weigh(dataset.rows("train"), recipe.weights).astype(np.float32)
        self._policy = recipe.augment if candidate.augment else _STILL
        self._seed, self.num_in_epoch = recipe.seed, math.ceil(len(self._images) / candidate.batch_size)
        self.begin(epoch=0, first=0)

    def begin(self, *, epoch: int, first: int) -> None:
        """Become the batches of an epoch, without those before number `first`."""
        self._first = first
        self._order = np.random.default_rng([self._seed, epoch, _ORDER]).permutation(len(self._images))
        self._draws = draw(len(self._images), self._seed, epoch)

    def count(self, first: int, end: int) -> int:
        """Images in the batches from number `first` up to, not including, number `end`."""
        return self._start(end) - self._start(first)

    def _start(self, number: int) -> int:
        return number * len(self._images) // self.num_in_epoch

    def __len__(self) -> int:
        return self.num_in_epoch - self._first

    def __getitem__(self, index: int) -> tuple[Pixels, Floats, Floats]:
        number = self._first + index
        rows = self._order[self._start(number) : self._start(number + 1)]
        return vary(self._images.take(rows), self._policy, self._draws[rows]), self._labels[rows], self._weights[rows]


class ValidationBatches(keras.utils.PyDataset):  # type: ignore[misc]
    """Unvaried batches in order."""

    def __init__(self, dataset: Dataset, candidate: Candidate) -> None:
        super().__init__()
        self._images, self._labels, self._batch_size = dataset.images("validation"), one_hot(dataset, "validation"), candidate.batch_size

    def __len__(self) -> int:
        return math.ceil(len(self._images) / self._batch_size)

    def __getitem__(self, index: int) -> tuple[Pixels, Floats]:
        part = slice(index * self._batch_size, (index + 1) * self._batch_size)
        return self._images[part], self._labels[part]


def one_hot(dataset: Dataset, split: str) -> Floats:
    """Labels of a split, shape (n, num_classes)."""
    return np.eye(len(dataset.classes), dtype=np.float32)[dataset.labels(split)]
