"""The figures of one candidate: what it confuses, how it ranks, whether its probabilities are kept, and where it errs."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, ScalarFormatter
from numpy.typing import NDArray
from sklearn.calibration import calibration_curve
from sklearn.metrics import ConfusionMatrixDisplay, PrecisionRecallDisplay, RocCurveDisplay

from components.common.dataset import Dataset
from components.common.figures import overlay_heat, save_contact_sheet
from components.common.metrics import Labels, Probabilities
from components.evaluate.answers import Answers, undo_temperature
from components.evaluate.judgement import trace_risk
from serving.predictor import ModelCard, Predictor

CONFUSION_MATRIX, WORST_ERRORS = "confusion_matrix.png", "worst_errors.png"
_NUM_WORST = 12
_NUM_BINS = 10
#: With more classes a curve for each would hide the others.
_MOST_CURVES = 12
#: Of classes along an axis, and of the characters of each.
_MOST_NAMES, _LONGEST_NAME = 24, 20


@dataclass(frozen=True)
class Subject:
    """What a figure shows.

    Attributes:
        labels: True class numbers, shape (n,).
        answers: What the candidate says of these images.
        classes: Their names.
        card: The candidate's.
        title: Says which candidate and which images, with their number.
    """

    labels: Labels
    answers: Answers
    classes: list[str]
    card: ModelCard
    title: str


@contextmanager
def _drawing(title: str, path: Path) -> Iterator[Axes]:
    figure = Figure(figsize=(4.6, 4.2), layout="constrained")
    axes = figure.add_subplot()
    yield axes
    axes.set_title(title, fontsize=9)
    figure.savefig(path, dpi=110)


def _name(label: str) -> str:
    """A class as a figure can show it: short, and without what matplotlib takes for a formula or for an entry to be hidden."""
    short = label if len(label) <= _LONGEST_NAME else f"{label[: _LONGEST_NAME - 1]}…"
    return re.sub(r"^_", " _", short.replace("$", r"\$"))


def _draw_confusion(subject: Subject, axes: Axes) -> None:
    """True class against predicted class, as counts; with many classes numbers stand for them, in their order."""
    guesses, numbers = subject.answers.probabilities.argmax(axis=1), range(len(subject.classes))
    shown = len(subject.classes) <= 2 * _MOST_CURVES
    ConfusionMatrixDisplay.from_predictions(
        subject.labels,
        guesses,
        labels=numbers,
        display_labels=[_name(label) for label in subject.classes],
        ax=axes,
        colorbar=False,
        cmap="Blues",
        include_values=shown,
        xticks_rotation="horizontal" if len(subject.classes) < 5 else "vertical",
    )
    if len(subject.classes) > _MOST_NAMES:
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(MaxNLocator(10, integer=True))
            axis.set_major_formatter(ScalarFormatter())
        axes.set(xlabel="predicted class, by number", ylabel="true class, by number")


def _draw_curves(
    display: type[RocCurveDisplay] | type[PrecisionRecallDisplay], xlabel: str, ylabel: str
) -> Callable[[Subject, Axes], None]:
    """One curve for each class against the rest; of two classes only the second has one."""

    def draw(subject: Subject, axes: Axes) -> None:
        for number in range(1 if len(subject.classes) == 2 else 0, min(len(subject.classes), _MOST_CURVES)):
            if 0 < (subject.labels == number).sum() < len(subject.labels):
                scores = subject.answers.probabilities[:, number]
                display.from_predictions(subject.labels == number, scores, name=_name(subject.classes[number]), ax=axes)
        axes.set(xlabel=xlabel, ylabel=ylabel)

    return draw


def _draw_reliability(subject: Subject, axes: Axes) -> None:
    """Share of right answers against their probability, in tenths of the images, before and after the temperature."""
    before = undo_temperature(subject.answers.probabilities, subject.card)
    axes.plot([0, 1], [0, 1], color="0.7", linestyle=":", linewidth=1)
    for name, probabilities in (("before calibration", before), ("after", subject.answers.probabilities)):
        right = probabilities.argmax(axis=1) == subject.labels
        share, promised = calibration_curve(right, probabilities.max(axis=1), n_bins=_NUM_BINS, strategy="quantile")
        axes.plot(promised, share, marker="o", markersize=3, linewidth=1, label=name)
    axes.set(xlabel="probability of the label", ylabel="share of right labels")
    axes.legend(fontsize=8)


def _draw_histogram(subject: Subject, axes: Axes) -> None:
    """How probable right and wrong labels were; the counts are logarithmic, or errors would not be seen."""
    right = subject.answers.is_right(subject.labels)
    bins = np.linspace(1 / len(subject.classes), 1, 26)
    for name, chosen, colour in (("right", right, "tab:blue"), ("wrong", ~right, "tab:red")):
        axes.hist(
            subject.answers.confidence[chosen], bins=bins.tolist(), alpha=0.6, label=f"{name}: {chosen.sum()}", color=colour, log=True
        )
    axes.axvline(subject.card.not_sure_below, color="0.4", linestyle="--", linewidth=1, label="not sure below")
    axes.set(xlabel="probability of the label", ylabel="images")
    axes.legend(fontsize=8)


def _draw_risk(subject: Subject, axes: Axes) -> None:
    """Errors among the most confident answers, and where the served rule stands."""
    right, not_sure = subject.answers.is_right(subject.labels), subject.answers.not_sure
    risk = trace_risk(right, subject.answers.confidence)
    axes.plot(np.arange(1, len(risk) + 1) / len(risk), 100 * risk, label="most probable first")
    if (~not_sure).any():
        axes.plot([(~not_sure).mean()], [100 * (~right[~not_sure]).mean()], "o", color="tab:red", label='all but "not sure"')
    axes.set(xlabel="share of the images that are answered", ylabel="errors among them, %")
    axes.legend(fontsize=8)


FIGURES: dict[str, Callable[[Subject, Axes], None]] = {
    CONFUSION_MATRIX: _draw_confusion,
    "roc.png": _draw_curves(RocCurveDisplay, "false positive rate", "true positive rate"),
    "precision_recall.png": _draw_curves(PrecisionRecallDisplay, "recall", "precision"),
    "reliability.png": _draw_reliability,
    "probabilities.png": _draw_histogram,
    "risk_coverage.png": _draw_risk,
}


def draw_figures(subject: Subject, names: list[str], folder: Path) -> None:
    """Write some of `FIGURES` into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        with _drawing(subject.title, folder / name) as axes:
            FIGURES[name](subject, axes)


def draw_worst_errors(subject: Subject, predictor: Predictor, dataset: Dataset, votes: dict[str, int], path: Path) -> None:
    """The surest errors on the test split: each image, and beside it where the wrong label was seen.

    Args:
        subject: All of the test split.
        predictor: The candidate.
        dataset: For the images.
        votes: Id -> how many independent searches call the label of the image wrong.
        path: PNG file to write.
    """
    worst = find_worst_errors(subject.labels, subject.answers.probabilities)[:_NUM_WORST]
    ids = dataset.rows("test")["id"]
    tiles, captions = [], []
    for row, pixels in zip(worst, dataset.images("test").take(worst), strict=True):
        said = int(subject.answers.probabilities[row].argmax())
        doubt = f", {votes[ids[row]]} doubt it" if ids[row] in votes else ""
        tiles += [pixels, overlay_heat(pixels, predictor.explain(pixels, subject.classes[said]))]
        captions += [
            f"{Path(ids[row]).stem}\nis {subject.classes[subject.labels[row]]}{doubt}",
            f"said {subject.classes[said]}\nat {subject.answers.confidence[row]:.3f}",
        ]
    num_errors = int((~subject.answers.is_right(subject.labels)).sum())
    save_contact_sheet(tiles, captions, path, title=f"{subject.title}: {num_errors} errors, the surest first; red speaks for what was said")


def find_worst_errors(labels: Labels, probabilities: Probabilities) -> NDArray[np.int64]:
    """Positions of the wrong answers, shape (errors,), those with the most probability for what was said first."""
    wrong = np.flatnonzero(probabilities.argmax(axis=1) != labels)
    return wrong[np.argsort(-probabilities[wrong].max(axis=1), kind="stable")]
