"""The figures of an evaluation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from sklearn.metrics import ConfusionMatrixDisplay, RocCurveDisplay

from components.common.metrics import Estimate, Labels, Probabilities


def save_confusion_matrix(labels: Labels, probabilities: Probabilities, classes: list[str], title: str, path: Path) -> None:
    """True class against predicted class, as counts."""
    figure = Figure(figsize=(4.6, 4.2), layout="constrained")
    axes = figure.add_subplot()
    ConfusionMatrixDisplay.from_predictions(
        labels, probabilities.argmax(axis=1), labels=range(len(classes)), display_labels=classes, ax=axes, colorbar=False, cmap="Blues"
    )
    axes.set_title(title, fontsize=10)
    figure.savefig(path, dpi=110)


def save_roc(labels: Labels, probabilities: Probabilities, classes: list[str], title: str, path: Path) -> None:
    """One ROC curve for each class against the rest; a single one where there are two classes."""
    figure = Figure(figsize=(4.6, 4.2), layout="constrained")
    axes = figure.add_subplot()
    for number in range(1 if len(classes) == 2 else 0, len(classes)):
        if 0 < (labels == number).sum() < len(labels):
            RocCurveDisplay.from_predictions(labels == number, probabilities[:, number], name=classes[number], ax=axes)
    axes.plot([0, 1], [0, 1], color="0.7", linestyle=":", linewidth=1)
    axes.set_title(title, fontsize=10)
    figure.savefig(path, dpi=110)


def save_comparison(estimates: dict[str, Estimate], metric: str, title: str, path: Path) -> None:
    """One metric of all candidates, with intervals."""
    figure = Figure(figsize=(6.5, 1.2 + 0.45 * len(estimates)), layout="constrained")
    axes = figure.add_subplot()
    for row, estimate in enumerate(estimates.values()):
        reach = [[estimate["value"] - estimate["low"]], [estimate["high"] - estimate["value"]]]
        axes.errorbar(estimate["value"], row, xerr=np.abs(reach), fmt="o", capsize=3)
        axes.annotate(
            f"{estimate['value']:.3f}", (estimate["value"], row), textcoords="offset points", xytext=(0, 6), ha="center", fontsize=8
        )
    axes.set_yticks(range(len(estimates)), list(estimates))
    axes.set_ylim(len(estimates) - 0.5, -0.7)
    axes.set_xlabel(f"{metric}, 95 % interval")
    axes.set_title(title, fontsize=10)
    axes.grid(axis="x", alpha=0.3)
    figure.savefig(path, dpi=110)
