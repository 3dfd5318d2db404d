from __future__ import annotations

import numpy as np
import pytest
from matplotlib.figure import Figure

from components.evaluate.answers import Answers
from components.evaluate.plots import FIGURES, Subject
from serving.predictor import ModelCard

CLASSES = ["cat", "dog", "horse"]


@pytest.mark.parametrize("name", FIGURES)
@pytest.mark.parametrize("num_classes", [2, 3])
def test_the_axes_of_a_figure_say_what_they_are(name: str, num_classes: int) -> None:
    labels = np.arange(60) % num_classes
    probabilities = np.random.default_rng(0).dirichlet(np.ones(num_classes), 60)
    answers = Answers(probabilities, probabilities.max(axis=1), probabilities.max(axis=1) < 0.5)
    classes = CLASSES[:num_classes]
    axes = Figure().add_subplot()
    FIGURES[name](Subject(labels, answers, classes, ModelCard(tuple(classes), 32, "digest", 0.5, generated=True), "title"), axes)
    for label in (axes.get_xlabel(), axes.get_ylabel()):
        assert label
        assert "Positive label" not in label, "classes have names, not numbers"
