"""What a model answered for each image of a split, and what is measured on that: by itself, and beside another model.

In: the evaluation's `predictions.parquet`, or a champion run on the test originals. Out: the values that `gate.decide` takes. The
answers on the test split are kept with every version, so that any two versions can be compared later without running either.
"""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from components.common.dataset import Dataset
from components.common.errors import PawflowError
from components.common.metrics import METRICS, Labels, Probabilities, estimate_metrics
from components.common.parallel import map_on_all_cores
from components.common.progress import track
from components.common.recipe import Gate, Metric
from components.register.gate import Comparison, Estimate, Slice
from components.register.statistics import Difference, count_disagreements, measure_gain
from serving.predictor import Predictor

_PREFIX = "probability_"
_NO_DIFFERENCE = Difference(np.nan, np.nan, np.nan)
#: Columns that name an image or its place, and so make no slices.
_NO_SLICES = frozenset({"candidate", "id", "split", "sha256", "group", "clean"})


@dataclass(frozen=True)
class Answers:
    """Answers of one model.

    Attributes:
        classes: Names in the order of the columns of `probabilities`.
        rows: A row for each image: `id`, `sha256`, `label`, `group`, `clean` (see `components.common.confounding`) and the slices.
        probabilities: Shape (n, num_classes).
    """

    classes: tuple[str, ...]
    rows: pd.DataFrame
    probabilities: Probabilities

    @property
    def labels(self) -> Labels:
        """Class numbers, shape (n,)."""
        return self.rows["label"].map(self.classes.index).to_numpy(np.int64)

    @property
    def groups(self) -> NDArray[np.str_]:
        """What keeps images that are alike together, shape (n,)."""
        return self.rows["group"].to_numpy(np.str_)

    def take(self, chosen: NDArray[np.bool_]) -> Answers:
        """Those of the images where `chosen`, shape (n,), is true."""
        return replace(self, rows=self.rows[chosen].reset_index(drop=True), probabilities=self.probabilities[chosen])

    def save(self, path: Path) -> None:
        """Write as one Parquet file."""
        columns = {f"{_PREFIX}{name}": self.probabilities[:, number] for number, name in enumerate(self.classes)}
        self.rows.assign(**columns).to_parquet(path, index=False)

    @classmethod
    def load(cls, path: Path) -> Answers:
        """Read what `save` wrote."""
        table = pd.read_parquet(path)
        columns = [name for name in table.columns if name.startswith(_PREFIX)]
        classes = tuple(name.removeprefix(_PREFIX) for name in columns)
        return cls(classes, table.drop(columns=columns), _normalise(table[columns].to_numpy(np.float64)))


def read_predictions(path: Path, split: str, dataset: Dataset, clean: frozenset[str]) -> dict[str, Answers]:
    """Every candidate's answers on a split.

    Args:
        path: The evaluation's `predictions.parquet`.
        split: Which.
        dataset: The one that was judged on; adds each image's bytes and group.
        clean: Ids of the images that count, see `components.common.confounding`.
    """
    table = pd.read_parquet(path)
    known = dataset.rows(split)[["id", "sha256", "group"]]
    columns = [f"{_PREFIX}{name}" for name in dataset.classes]
    answers = {}
    for name, part in table[table["split"] == split].groupby("candidate", sort=False):
        merged = part.drop(columns=["sha256", "group"], errors="ignore").merge(known, on="id", validate="one_to_one")
        rows = merged.drop(columns=["candidate", *columns]).assign(clean=merged["id"].isin(clean))
        answers[str(name)] = Answers(tuple(dataset.classes), rows, _normalise(merged[columns].to_numpy(np.float64)))
    return answers


def ask(predictor: Predictor, dataset: Dataset, rows: pd.DataFrame, what: str) -> Answers:
    """Run a model on the encoded files of test images, as callers would send them; so its size of image does not matter.

    Args:
        predictor: The model.
        dataset: Holds the originals.
        rows: Of the images to ask about, in the order of `dataset.originals()`.
        what: For the progress line.

    Raises:
        PawflowError: The model knows other classes.
    """
    if set(predictor.card.classes) != set(dataset.classes):
        raise PawflowError(
            f"champion {predictor.version} knows the classes {list(predictor.card.classes)}, the challenger {list(dataset.classes)}; "
            "register it under another name: set `model` in the recipe"
        )
    wanted = frozenset(rows["id"])
    photos = (data for identifier, data in dataset.originals() if identifier in wanted)
    answers = list(track(map_on_all_cores(predictor.predict, photos), what, total=len(rows)))
    probabilities = [[answer["probabilities"][name] for name in dataset.classes] for answer in answers]
    return Answers(tuple(dataset.classes), rows, _normalise(np.array(probabilities).reshape(len(rows), len(dataset.classes))))


def estimate(answers: Answers, metric: Metric, seed: int) -> Estimate:
    """A metric with its interval; NaN where the model gave one for any image, which no ranking would notice."""
    if not np.isfinite(answers.probabilities).all():
        return {"value": np.nan, "low": np.nan, "high": np.nan, "n": len(answers.rows)}
    found = estimate_metrics(answers.labels, answers.probabilities, seed, answers.groups)[metric]
    return {key: float(value) for key, value in found.items()}


def measure_log_loss(answers: Answers) -> tuple[float, float]:
    """The log-loss, and that of always answering the shares of the classes; both in nats."""
    shares = np.bincount(answers.labels) / len(answers.rows)
    guessing = -float((shares[shares > 0] * np.log(shares[shares > 0])).sum())
    finite = np.isfinite(answers.probabilities).all()
    return METRICS["log_loss"](answers.labels, answers.probabilities) if finite else np.nan, guessing


def compare(challenger: Answers, champion: Answers, rule: Gate, seed: int, *, num_left_out: int = 0, slowdown: float = 1.0) -> Comparison:
    """Judge two models on the same images, which both hold in the same order.

    Args:
        challenger: Its answers.
        champion: Likewise.
        rule: The recipe's.
        seed: Of the resamples.
        num_left_out: Images that were left out beforehand because the champion was trained on them.
        slowdown: The challenger's latency divided by the champion's.
    """
    labels, pair = challenger.labels, (challenger.probabilities, champion.probabilities)
    comparison = Comparison(len(labels), num_left_out, np.nan, np.nan, _NO_DIFFERENCE, _NO_DIFFERENCE, 0, 0, slowdown=slowdown)
    if not len(labels) or not all(np.isfinite(probabilities).all() for probabilities in pair):
        return comparison
    only = count_disagreements(labels, *pair)
    return replace(
        comparison,
        challenger=METRICS[rule.metric](labels, pair[0]),
        champion=METRICS[rule.metric](labels, pair[1]),
        gain=measure_gain(rule.metric, labels, *pair, challenger.groups, seed),
        calibration=measure_gain("log_loss", labels, *pair, challenger.groups, seed),
        only_challenger_right=only[0],
        only_champion_right=only[1],
        slices=_cut(challenger, champion, rule.slice_images),
    )


def select_judged(answers: Answers, rule: Gate, least: int = 1) -> Answers:
    """Those on the images that the rule judges by; all of them where fewer than `least` are clean."""
    clean = answers.rows["clean"].to_numpy(bool)
    return answers.take(clean) if rule.confounding == "refuse" and clean.sum() >= least else answers


def leave_out(answers: Answers, seen: Set[str]) -> tuple[Answers, int]:
    """The answers on images that are not in `seen` (SHA-256 of files), and how many others there were."""
    known = answers.rows["sha256"].isin(seen).to_numpy()
    return answers.take(~known), int(known.sum())


def find_slices(rows: pd.DataFrame, least: int) -> dict[str, NDArray[np.int64]]:
    """Positions of the images of each slice, shape (k,): one slice for each value of each column of words that has several values.

    Args:
        rows: A row for each image.
        least: Images; smaller slices are left out.
    """
    slices: dict[str, NDArray[np.int64]] = {}
    for column in sorted(set(rows.columns) - _NO_SLICES):
        values = rows[column]
        if not pd.api.types.is_numeric_dtype(values) and values.nunique() > 1:
            for value, places in values.groupby(values).indices.items():
                if len(places) >= least:
                    slices[f"{column} {value}"] = np.asarray(places, np.int64)
    return slices


def _cut(challenger: Answers, champion: Answers, least: int) -> tuple[Slice, ...]:
    return tuple(
        Slice(
            name,
            len(places),
            *count_disagreements(challenger.labels[places], challenger.probabilities[places], champion.probabilities[places]),
        )
        for name, places in find_slices(challenger.rows, least).items()
    )


def _normalise(probabilities: NDArray[np.float64]) -> Probabilities:
    # Softmax in single precision sums to 1 only roughly, and scikit-learn warns of that.
    return np.asarray(probabilities / probabilities.sum(axis=1, keepdims=True))
