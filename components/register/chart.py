"""What each candidate's accuracy costs, in one picture: milliseconds to answer, CPU-seconds to train.

In: the results of an evaluation and what training reported. Out: a PNG with a point for each candidate.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, ScalarFormatter

from components.register.selection import Choice

CHART_FILE = "accuracy_latency_cost.png"
#: Candidates that are named, at most.
_MOST_NAMED = 12


def draw_chart(results: dict[str, Any], cpu_seconds: dict[str, float], choice: Choice, title: str, path: Path) -> None:
    """Test accuracy with its interval against latency; the larger a point, the longer its training; the winner is ringed.

    Args:
        results: Candidate -> `test` -> `accuracy` -> `value`, `low`, `high`; and `latency_ms`.
        cpu_seconds: Of training.
        choice: Says who won.
        title: Above the picture.
        path: Of the PNG file.
    """
    names = list(results)
    accuracy = np.array([[results[name]["test"]["accuracy"][key] for key in ("low", "value", "high")] for name in names])
    latency = np.array([results[name]["latency_ms"] for name in names])
    cost = np.array([cpu_seconds.get(name, 0.0) for name in names])
    size = 20 + 300 * np.clip(cost, 0, None) / max(cost.max(), 1e-9)
    figure = Figure(figsize=(9, 4.6), layout="constrained")
    axes = figure.add_subplot()
    reach = np.abs(np.stack([accuracy[:, 1] - accuracy[:, 0], accuracy[:, 2] - accuracy[:, 1]]))
    axes.errorbar(latency, accuracy[:, 1], yerr=reach, fmt="none", ecolor="0.75", capsize=2)
    axes.scatter(latency, accuracy[:, 1], s=size, color="tab:blue", alpha=0.6)
    won = names.index(choice.winner)
    axes.scatter(latency[won], accuracy[won, 1], s=size[won] + 120, facecolors="none", edgecolors="tab:green", linewidths=2)
    # Named beside the picture, because candidates of one backbone lie close to one another; of a large grid those that matter.
    named = names if len(names) <= _MOST_NAMED else list(dict.fromkeys((choice.winner, choice.best)))
    rows = sorted(map(names.index, named), key=lambda row: float(latency[row]))
    gaps = np.concatenate([[np.inf], np.diff(np.log(latency[rows])), [np.inf]])
    for number, (row, before, after) in enumerate(zip(rows, gaps, gaps[1:], strict=False), start=1):
        # On the side where the next point is farther away.
        side = 1 if after > before else -1
        axes.annotate(
            str(number),
            (latency[row], accuracy[row, 1]),
            textcoords="offset points",
            xytext=(side * (4 + math.sqrt(size[row]) / 2), 0),
            ha="left" if side == 1 else "right",
            va="center",
            fontsize=8,
        )
        axes.plot([], [], " ", label=f"{number}  {names[row]}, {cost[row]:.0f} CPU s")
    figure.legend(loc="outside right upper", handlelength=0, handletextpad=0, fontsize=7, frameon=False)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(ScalarFormatter())
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.margins(x=0.2, y=0.2)
    axes.set_xlabel("ms to answer for one photo, one thread")
    axes.set_ylabel("test accuracy, 95 % interval")
    bottom, top = axes.get_ylim()
    axes.set_yticks([tick for tick in axes.get_yticks() if bottom <= tick < 1 + 1e-9])
    axes.set_ylim(bottom, top)
    axes.grid(alpha=0.3)
    figure.suptitle(f"{title}; size of a point: CPU-seconds of training; ring: the winner", fontsize=9)
    figure.savefig(path, dpi=110)
