"""Which network of a candidate serves: the float32 one, or the 8-bit one that it may carry.

The 8-bit network serves only where it gives the same label on nearly every validation image, is shown not to be worse there, and is faster
here and now. Else it is withheld, with the reason, and float32 serves. The test split takes no part in that, so it can judge what serves.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
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

#: Share of the validation images on which both networks must give the same label.
SAME_LABELS = 0.995
_NUM_TIMED = 30


@dataclass(frozen=True)
class ServingForm:
    """What serves.

    Attributes:
        form: Its name.
        reason: Why this one.
        answers: Its answers on the test split.
        same_labels: Share of the validation images on which both networks agree; None where there is one network.
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


def choose_form(candidate: Path, answers: Mapping[str, Answers], dataset: Dataset, recipe: Recipe) -> ServingForm:
    """Decide which network of a candidate serves.

    Args:
        candidate: Its folder.
        answers: Of its float32 network, on `validation` and `test`.
        dataset: Holds the images.
        recipe: The experiment; its gate's `metric` and `margin` say what not worse means.
    """
    if not (candidate / INT8_FILE).is_file():
        return ServingForm("float32", "the candidate has no 8-bit network", answers["test"])
    fast, exact = Predictor(candidate, int8=True), Predictor(candidate)
    times = time_side_by_side([fast, exact], next(dataset.originals())[1])
    known, rounded = answers["validation"], _ask(fast, answers, dataset, "validation")
    pair = rounded.probabilities, known.probabilities
    same = float((pair[0].argmax(axis=1) == pair[1].argmax(axis=1)).mean())
    gain = measure_gain(recipe.gate.metric, known.labels, *pair, known.groups, recipe.seed)
    measured = f"it gives the same label on {100 * same:.2f} % of {len(known.rows)} validation images, {recipe.gate.metric} {gain}, "
    measured += f"{times[0]:.1f} ms instead of {times[1]:.1f} ms"
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
        return ServingForm("float32", f"int8 is withheld: {'; '.join(problems)} ({measured})", answers["test"], same)
    return ServingForm("int8", f"int8 serves: {measured}", _ask(fast, answers, dataset, "test"), same)


def _ask(predictor: Predictor, answers: Mapping[str, Answers], dataset: Dataset, split: str) -> Answers:
    """What another network says of the images of a split; they are stored in the order of the answers."""
    images = dataset.images(split)
    scores = map_on_all_cores(lambda row: predictor.score(images[row]), range(len(images)))
    found = np.stack(list(track(scores, f"asking the 8-bit network: {split}", total=len(images)))).astype(np.float64)
    return replace(answers[split], probabilities=found / found.sum(axis=1, keepdims=True))


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
