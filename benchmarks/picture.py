"""The figures of all benchmarks at a glance: how many times as much others take, and how near we are to the least possible."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, ScalarFormatter

#: (benchmark, figure) -> what others do, in CPU time for one of ours.
_OTHERS = {
    ("data", "ratio_keras_loader"): "Keras, an epoch from files",
    ("data", "ratio_cleanvision"): "CleanVision, duplicates",
    ("training", "cpu_ratio_frozen"): "Keras, frozen network, every epoch",
    ("training", "cpu_ratio_frozen_features"): "Keras, frozen network, features once",
    ("training", "cpu_ratio_scratch"): "Keras's example, from scratch",
    ("training", "ratio_input"): "Keras, input from files",
    ("serving", "cpu_ratio_keras"): "mlflow.keras, a photo as tensor",
    ("serving", "cpu_ratio_onnx"): "mlflow.onnx, a photo as tensor",
    ("serving", "cpu_ratio_fastapi_default_gateway"): "FastAPI as it comes",
    ("serving", "cpu_ratio_fastapi_gateway"): "FastAPI, one thread",
    ("serving", "cpu_ratio_litserve_gateway"): "LitServe",
}
#: (benchmark, figure) -> what reaches which share of the limit; a figure that is a multiple of the limit is turned over.
_LIMITS = {
    ("data", "ratio_decode_to_floor"): "decoding, of Pillow alone",
    ("data", "ratio_to_floor"): "all of fuse, of Pillow alone",
    ("serving", "share_of_ceiling_gateway"): "gateway, of decoding and network",
    ("serving", "share_of_ceiling_mlflow"): "MLflow endpoint, of decoding and network",
    ("serving", "share_of_floor_gateway"): "gateway, of the processor's multiply-adds",
}
_MULTIPLES = ("ratio_to_floor", "ratio_decode_to_floor")


def draw_results(results: Mapping[str, Any], path: Path) -> None:
    """Draw what there is of the figures.

    Args:
        results: name of a benchmark -> its `environment` and `figures`, as `benchmarks.__main__` writes them.
        path: SVG file to write.
    """
    figure = Figure(figsize=(10.5, 6), layout="constrained")
    left, right = figure.subplots(1, 2)
    others, limits = _pick(results, _OTHERS), _pick(results, _LIMITS)
    left.barh(list(others), list(others.values()), color=["#4f46e5" if value >= 1 else "#dc2626" for value in others.values()])
    left.set_xscale("log")
    left.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    left.xaxis.set_major_formatter(ScalarFormatter())
    left.xaxis.set_minor_formatter(NullFormatter())
    left.set_title("CPU time of others, for 1 of ours", loc="left", fontsize=10)
    left.axvline(1, color="0.2", linewidth=1)
    right.barh(list(limits), [100 * value for value in limits.values()], color="#0d9488")
    right.set(xlim=(0, 125), xticks=range(0, 101, 25))
    right.set_title("share of the least possible, %", loc="left", fontsize=10)
    right.axvline(100, color="0.2", linewidth=1)
    for axes, values, form in ((left, others, "{:.3g}"), (right, {name: 100 * value for name, value in limits.items()}, "{:.0f}")):
        for row, value in enumerate(values.values()):
            axes.annotate(form.format(value), (value, row), xytext=(4, 0), textcoords="offset points", va="center", fontsize=8)
        axes.invert_yaxis()
        axes.tick_params(labelsize=8)
        axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle("\n".join(f"{name}: {_describe(one['environment'])}" for name, one in results.items()), fontsize=8, color="0.4")
    # Without the date of drawing, so that equal figures give an equal file.
    figure.savefig(path, metadata={"Date": None})


def _describe(machine: Mapping[str, Any]) -> str:
    return f"{machine['processor']}, {machine['cores']} cores; {machine['date'][:10]}, {machine['commit'][:12]}"


def _pick(results: Mapping[str, Any], wanted: Mapping[tuple[str, str], str]) -> dict[str, float]:
    picked = {}
    for (benchmark, key), words in wanted.items():
        figures = results.get(benchmark, {}).get("figures", {})
        value = figures.get(key)
        if value:
            lower_bound = figures.get(f"{key}_is_a_lower_bound")
            picked[f"{words}{' (at least)' if lower_bound else ''}"] = 1 / value if key in _MULTIPLES else value
    return picked
