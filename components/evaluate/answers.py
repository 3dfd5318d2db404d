"""What a candidate says of many images, through the file and the code that will serve it."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from components.common.metrics import Labels, Probabilities
from components.common.parallel import map_on_all_cores
from components.common.progress import track
from serving.activation import find_peak
from serving.images import Pixels
from serving.predictor import ModelCard, Predictor

_NUM_TIMED = 30


@dataclass(frozen=True)
class Answers:
    """What was said of n images.

    Attributes:
        probabilities: Shape (n, num_classes).
        peak: Of the evidence (see `serving.activation`), shape (n,).
        not_sure: Whether the served answer would be "not sure", shape (n,).
    """

    probabilities: Probabilities
    peak: NDArray[np.float64]
    not_sure: NDArray[np.bool_]

    @property
    def confidence(self) -> NDArray[np.float64]:
        """Probability of the label, shape (n,)."""
        return np.asarray(self.probabilities.max(axis=1))

    def is_right(self, labels: Labels) -> NDArray[np.bool_]:
        """Whether the label is the true one, shape (n,)."""
        return np.asarray(self.probabilities.argmax(axis=1) == labels)

    def tabulate(self, classes: list[str]) -> pd.DataFrame:
        """Columns `probability_<class>`, `peak` and `not_sure`."""
        table = pd.DataFrame(self.probabilities, columns=[f"probability_{name}" for name in classes])
        return table.assign(peak=self.peak, not_sure=self.not_sure)


def ask(predictor: Predictor, images: Sequence[Pixels], description: str = "") -> Answers:
    """Put images to a candidate one at a time, as callers do.

    Args:
        predictor: The candidate.
        images: Squares of the size that it takes.
        description: For the progress bar; empty for none.
    """

    def answer(number: int) -> tuple[NDArray[np.float32], float, bool]:
        probabilities, activation = predictor.look(images[number])
        return probabilities, float(find_peak(activation)), predictor.is_not_sure(probabilities, activation)

    answers = map_on_all_cores(answer, range(len(images)))
    tracked = track(answers, description, total=len(images)) if description else answers
    probabilities, peak, not_sure = zip(*tracked, strict=True)
    return Answers(normalise(np.stack(probabilities)), np.array(peak), np.array(not_sure))


def normalise(probabilities: Probabilities) -> Probabilities:
    """In double precision: softmax in single precision sums to 1 only roughly, and scikit-learn warns of that."""
    exact = probabilities.astype(np.float64)
    return np.asarray(exact / exact.sum(axis=1, keepdims=True))


def undo_temperature(probabilities: Probabilities, card: ModelCard) -> Probabilities:
    """What the network would have said before its calibration."""
    return normalise(np.maximum(probabilities, np.finfo(np.float32).tiny) ** card.temperature)


def read_out_of_fold(path: Path, classes: list[str]) -> pd.DataFrame:
    """What heads said that had not seen an image: columns `probability_<class>`, indexed by the image's id."""
    table = pd.read_parquet(path).set_index("id")
    return table[[f"probability_{name}" for name in classes]]


def time_one_image(predictor: Predictor, pixels: Pixels) -> float:
    """Median milliseconds of one image on one thread, decoding apart."""
    times = []
    for _ in range(_NUM_TIMED):
        started = time.perf_counter()
        predictor.score(pixels)
        times.append(1000 * (time.perf_counter() - started))
    return statistics.median(times)
