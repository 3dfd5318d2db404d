from __future__ import annotations

import io

import numpy as np
import pytest
from matplotlib.figure import Figure

from components.evaluate.answers import Answers
from components.evaluate.plots import FIGURES, Subject, find_worst_errors
from serving.predictor import ModelCard

CLASSES = ["cat", "dog", "horse"]


def draw(name: str, classes: list[str]) -> Figure:
    labels = np.arange(6 * len(classes)) % len(classes)
    probabilities = np.random.default_rng(0).dirichlet(np.ones(len(classes)), len(labels))
    answers = Answers(probabilities, probabilities.max(axis=1), probabilities.max(axis=1) < 0.5)
    figure = Figure()
    FIGURES[name](
        Subject(labels, answers, classes, ModelCard(tuple(classes), 32, "digest", 0.5, generated=True), "title"), figure.add_subplot()
    )
    return figure


def test_the_surest_error_comes_first_however_likely_the_truth_was() -> None:
    probabilities = np.array([[0.6, 0.0, 0.4], [0.5, 0.45, 0.05], [0.1, 0.8, 0.1], [0.9, 0.05, 0.05]])
    assert find_worst_errors(np.array([1, 1, 2, 0]), probabilities).tolist() == [2, 0, 1]


@pytest.mark.parametrize("name", FIGURES)
def test_classes_of_any_name_can_be_drawn(name: str) -> None:
    figure = draw(name, ["coin_$1_to_$5", "_other", "a name that is far too long for a figure"])
    figure.savefig(io.BytesIO())
    legend = figure.axes[0].get_legend()
    if name == "roc.png":
        assert legend is not None
        assert [text.get_text().split(" (")[0] for text in legend.get_texts()][:3] == [
            r"coin_\$1_to_\$5",
            " _other",
            "a name that is far …",
        ]


def test_of_many_classes_the_confusions_stay_readable() -> None:
    figure = draw("confusion_matrix.png", [f"breed {number}" for number in range(120)])
    figure.savefig(io.BytesIO())
    axes = figure.axes[0]
    assert len(axes.get_xticklabels()) <= 13
    assert axes.get_xlabel() == "predicted class, by number"


@pytest.mark.parametrize("name", FIGURES)
@pytest.mark.parametrize("num_classes", [2, 3])
def test_the_axes_of_a_figure_say_what_they_are(name: str, num_classes: int) -> None:
    axes = draw(name, CLASSES[:num_classes]).axes[0]
    for label in (axes.get_xlabel(), axes.get_ylabel()):
        assert label
        assert "Positive label" not in label, "classes have names, not numbers"
