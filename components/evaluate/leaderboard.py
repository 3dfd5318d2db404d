"""All candidates of a run beside each other: how good each is, and what it costs.

In: the results of an evaluation and what training reported. Out: `leaderboard.csv`, a row for each candidate, the best first and those that
could not be trained last, and `leaderboard.png`, the same as a picture.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from components.common.recipe import LOWER_IS_BETTER, Metric

TABLE_FILE, FIGURE_FILE = "leaderboard.csv", "leaderboard.png"

_METRICS = ("accuracy", "precision", "recall", "f1", "roc_auc", "log_loss")
#: Column -> metric that training reported.
_COSTS = {
    "train_cpu_seconds": "train.cpu_seconds",
    "train_gpu_seconds": "train.gpu_seconds",
    "parameters": "num_parameters",
    "model_bytes": "onnx_bytes",
}


def rank(results: dict[str, Any], training: dict[str, dict[str, float]], select: Metric) -> pd.DataFrame:
    """The table.

    Args:
        results: Candidate -> split -> metric -> estimate, and `latency_ms`.
        training: Candidate -> metrics that its training reported, the costs among them.
        select: Metric on the validation split that decides on the order, and under the policy `best` on the winner.

    Returns:
        Columns `candidate`, `validation_<select>`, the test metrics, the interval of the accuracy, and the costs.
    """
    rows = []
    for name, result in results.items():
        accuracy = result["test"]["accuracy"]
        row: dict[str, object] = {"candidate": name, f"validation_{select}": result["validation"][select]["value"]}
        row |= {metric: result["test"][metric]["value"] for metric in _METRICS}
        row |= {"accuracy_low": accuracy["low"], "accuracy_high": accuracy["high"], "errors": accuracy["errors"], "images": accuracy["n"]}
        row |= {column: training[name][metric] for column, metric in _COSTS.items()}
        rows.append(row | {"latency_ms": result["latency_ms"]})
    return pd.DataFrame(rows).sort_values(f"validation_{select}", ascending=select in LOWER_IS_BETTER, ignore_index=True, kind="stable")


def write(table: pd.DataFrame, failed: Mapping[str, str], path: Path) -> None:
    """Save the table with a further column `failed`: the reason, of each candidate that has one and no figures."""
    missing = pd.DataFrame({"candidate": list(failed), "failed": list(failed.values())}, dtype="str")
    pd.concat([table, missing]).to_csv(path, index=False, float_format="%.6g")


def draw(table: pd.DataFrame, failed: Mapping[str, str], title: str, path: Path) -> None:
    """Accuracy with its interval and CPU-seconds of every candidate, in the order of the table.

    The highest and the lowest accuracy are in colour; a ring is around the first of the table, which was best on validation.

    Args:
        table: From `rank`.
        failed: Name -> reason of each that could not be trained, listed below.
        title: Of the picture.
        path: Of the PNG file.
    """
    names = [*table["candidate"], *failed]
    figure = Figure(figsize=(9, 1.3 + 0.24 * max(len(names), 4)), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=[3, 1])
    rows = np.arange(len(table))
    accuracies = table["accuracy"].to_numpy()
    reach = [accuracies - table["accuracy_low"], table["accuracy_high"] - accuracies]
    left.errorbar(accuracies, rows, xerr=np.abs(reach), fmt="none", ecolor="0.75", capsize=2)
    left.scatter(accuracies, rows, color="tab:gray", s=18, zorder=3)
    if accuracies.min() < accuracies.max():
        for colour, extreme, words in (("tab:green", accuracies.max(), "highest"), ("tab:red", accuracies.min(), "lowest")):
            left.scatter(accuracies[accuracies == extreme], rows[accuracies == extreme], color=colour, s=18, zorder=4, label=words)
    left.scatter(accuracies[:1], rows[:1], s=90, facecolors="none", edgecolors="black", zorder=5, label="best on validation")
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower left", ncols=3, fontsize=7, frameon=False)
    for row, accuracy in zip(rows, accuracies, strict=True):
        left.annotate(f"{accuracy:.3f}", (accuracy, row), textcoords="offset points", xytext=(0, 6), ha="center", fontsize=7)
    for place in range(len(table), len(names)):
        left.annotate("failed", (0.01, place), xycoords=left.get_yaxis_transform(), va="center", fontsize=7, color="tab:red")
    left.set_yticks(range(len(names)), names, fontsize=8)
    left.set_ylim(len(names) - 0.4, -0.8)
    left.set_xlabel("accuracy, 95 % interval")
    left.grid(axis="x", alpha=0.3)
    right.barh(rows, table["train_cpu_seconds"], color="tab:blue", height=0.6)
    right.set_xlabel("CPU-seconds")
    figure.suptitle(title, fontsize=10)
    figure.savefig(path, dpi=110)
