"""Which network of a candidate serves: the float32 one, or the 8-bit one that it may carry.

The 8-bit network serves only where it gives the same label on nearly every test image, is shown not to be worse, and is faster here and
now. Else it is withheld, with the reason, and float32 serves.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from components.common.dataset import Dataset
from components.common.parallel import map_on_all_cores
from components.common.progress import track
from components.common.recipe import Recipe
from components.register.answers import Answers
from components.register.statistics import measure_gain
from serving.images import read_photo
from serving.predictor import INT8_FILE, MODEL_FILE, Predictor

#: Share of the test images on which both networks must give the same label.
SAME_LABELS = 0.995
_NUM_TIMED = 30


@dataclass(frozen=True)
class ServingForm:
    """What serves.

    Attributes:
        form: Its name.
        reason: Why this one.
        answers: Its answers on the test split.
        same_labels: Share of labels that both networks agree on; None where there is one network.
    """

    form: Literal["float32", "int8"]
    reason: str
    answers: Answers
    same_labels: float | None = None

    @property
    def network(self) -> str:
        """Name of its file."""
        return INT8_FILE if self.form == "int8" else MODEL_FILE

    def load(self, folder: Path) -> Predictor:
        """What answers, from a candidate's folder or a packed one."""
        return Predictor(folder, int8=self.form == "int8")


def choose_form(candidate: Path, answers: Answers, dataset: Dataset, recipe: Recipe) -> ServingForm:
    """Decide which network of a candidate serves.

    Args:
        candidate: Its folder.
        answers: Of its float32 network on the test split.
        dataset: Holds the test images.
        recipe: The experiment; its gate's `metric` and `margin` say what not worse means.
    """
    if not (candidate / INT8_FILE).is_file():
        return ServingForm("float32", "the candidate has no 8-bit network", answers)
    images, photo = dataset.images("test"), next(dataset.originals())[1]
    fast, exact = Predictor(candidate, int8=True), Predictor(candidate)
    scores = map_on_all_cores(lambda row: fast.score(images[row]), range(len(images)))
    stored = np.stack(list(track(scores, "asking the 8-bit network", total=len(images)))).astype(np.float64)
    times = time_side_by_side([fast, exact], photo)
    # The stored squares lie in the order of the manifest, as the answers do.
    int8 = replace(answers, probabilities=stored / stored.sum(axis=1, keepdims=True))
    same = float((stored.argmax(axis=1) == answers.probabilities.argmax(axis=1)).mean())
    gain = measure_gain(recipe.gate.metric, answers.labels, int8.probabilities, answers.probabilities, answers.groups, recipe.seed)
    measured = f"it gives the same label on {100 * same:.2f} % of {len(images)} test images, {recipe.gate.metric} {gain}, {times[0]:.1f} ms"
    measured += f" instead of {times[1]:.1f} ms"
    problems = [
        problem
        for problem, holds in (
            (f"fewer than {100 * SAME_LABELS:g} % of the labels agree", same >= SAME_LABELS),
            (f"a loss of {recipe.gate.margin:g} cannot be ruled out", gain.low > -recipe.gate.margin),
            ("it is not faster", times[0] < times[1]),
        )
        if not holds
    ]
    if problems:
        return ServingForm("float32", f"int8 is withheld: {'; '.join(problems)} ({measured})", answers, same)
    return ServingForm("int8", f"int8 serves: {measured}", int8, same)


def time_side_by_side(predictors: Sequence[Predictor], photo: bytes) -> list[float]:
    """Median milliseconds of one decoded photo on one thread, for each; they take turns, so that a busy machine slows all alike."""
    squares = [read_photo(photo, predictor.card.image_size, predictor.card.resize).pixels for predictor in predictors]
    times: list[list[float]] = [[] for _ in predictors]
    for _ in range(_NUM_TIMED):
        for predictor, pixels, taken in zip(predictors, squares, times, strict=True):
            started = time.perf_counter()
            predictor.score(pixels)
            taken.append(1000 * (time.perf_counter() - started))
    return [statistics.median(taken) for taken in times]
