"""How the data steps grow with the data, what they cost above the least that is possible, and what others take for like work.

No arguments. On one population of drawn pictures, in three sizes, it runs download, fuse and augment whole, as their commands do, and the
parts of fuse by themselves; then, if `PAWFLOW_DATA` names a folder with `dogs-vs-cats-96px.zip`, the same on 23,000 photos. It prints
tables and, last, one line of JSON. What the figures mean: benchmarks/README.md.
"""

from __future__ import annotations

import json
import os
import shutil
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
from rich.console import Console
from rich.table import Table

from benchmarks import parts, peers, steps
from benchmarks.common import Cost, FailedTaskError, Task, fit_exponent, make_environment, measure, summarise
from benchmarks.population import draw_populations
from benchmarks.workspace import DATASET, HOME, RAW, RECIPE
from components.common.dataset import MANIFEST
from components.common.store import home

_SIZES = tuple(int(size) for size in os.environ.get("PAWFLOW_BENCHMARK_SIZES", "1000,10000,100000").split(","))
_REPETITIONS = int(os.environ.get("PAWFLOW_BENCHMARK_REPETITIONS", "3"))
_REPEATED_UP_TO = 10_000
#: Set to leave out what others do, which needs environments of its own.
_WITHOUT_PEERS = "PAWFLOW_BENCHMARK_WITHOUT_PEERS" in os.environ
_REAL = "dogs-vs-cats-96px"
_IMAGE_SIZE = 96

#: In this order, over and over, so that a machine that slows down does so for all. The floor comes twice: the second is the control.
_TASKS: dict[str, Task] = {
    "download": steps.run_download,
    "floor": parts.floor,
    "fuse": steps.run_fuse,
    "floor again": parts.floor,
    "fuse: decode": parts.decode,
    "fuse: near duplicates": parts.search,
    "fuse: proof": parts.proof,
    "fuse: audit": parts.audit,
    "augment": steps.run_augment,
    "epoch from shards": parts.epoch,
}
_KERAS, _CLEANVISION = "Keras: epoch from files", "CleanVision: duplicates"
_CLEANVISION_VERSION = "cleanvision==0.3.7"
#: Key of the figures -> task; of the others, audit takes a bounded time and the rest are parts or no steps of ours.
_EXPONENTS = {
    "exponent_download": "download",
    "exponent_fuse": "fuse",
    "exponent_augment": "augment",
    "exponent_near_duplicates": "fuse: near duplicates",
    "exponent_proof": "fuse: proof",
}
_RECIPE = """
name: benchmark
image_size: {image_size}
sources:
  root: {root}
  archives: [{{name: {name}, provider: local, layout: {layout}}}]
augment: {{views: 1, flip: true, rotate: 10, crop: 0.1, brightness: 0.2, contrast: 0.2, saturation: 0.2}}
"""


@dataclass
class Population:
    """Images in an archive, a workspace for them, and what was measured on them.

    Attributes:
        title: What they are.
        folder: The workspace.
        costs: By task.
    """

    title: str
    folder: Path
    costs: dict[str, Cost] = field(default_factory=dict)

    @property
    def num_images(self) -> int:
        """Images that were decoded."""
        return len(pd.read_parquet(self.folder / DATASET / MANIFEST, columns=["id"]))

    def ratio(self, task: str, other: str) -> float:
        """CPU-seconds of one task for one of another."""
        return round(self.costs[task].cpu / self.costs[other].cpu, 3)


def main() -> None:
    """Measure everything and print it."""
    scratch = home() / "benchmarks" / "scratch"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{scratch}/mlflow.db"
    draw_populations(_SIZES, scratch)
    drawn = [_prepare(scratch, f"{size:,} drawn pictures", f"population-{size}", "class_folders") for size in _SIZES]
    # The first run of all makes MLflow's store, and is not looked at.
    _run(steps.run_download, drawn[0])
    for size, population in zip(_SIZES, drawn, strict=True):
        _measure(population, repetitions=_REPETITIONS if size <= _REPEATED_UP_TO else 1)
        if size == max(size for size in _SIZES if size <= _REPEATED_UP_TO):
            _measure_peers(population)
        _show(population)
    figures: dict[str, object] = {key: _fit(drawn, task) for key, task in _EXPONENTS.items()}
    figures |= {key: value for population in drawn for key, value in _compare(population).items()}
    root = Path(os.environ.get("PAWFLOW_DATA", "."))
    if (root / f"{_REAL}.zip").is_file():
        real = _prepare(scratch, "23,000 photos", _REAL, "dogs_vs_cats", root)
        _measure(real, repetitions=1)
        _measure_peers(real)
        _show(real)
        figures |= {f"{key}_photos": value for key, value in _compare(real).items()}
    else:
        print(f"photos: not run: PAWFLOW_DATA names no folder that holds {_REAL}.zip")
    shutil.rmtree(scratch)
    print(json.dumps(figures))


def _prepare(scratch: Path, title: str, source: str, layout: str, root: Path | None = None) -> Population:
    folder = scratch / source / "workspace"
    folder.mkdir(parents=True)
    recipe = _RECIPE.format(image_size=_IMAGE_SIZE, root=(root or scratch).absolute(), name=source, layout=layout)
    (folder / RECIPE).write_text(recipe)
    return Population(title, folder)


def _run(task: Task, population: Population) -> Cost:
    return measure(task, population.folder, variables={"PAWFLOW_HOME": str(population.folder / HOME)})


def _measure(population: Population, repetitions: int) -> None:
    runs: dict[str, list[Cost]] = {name: [] for name in _TASKS}
    for _ in range(repetitions):
        for name, task in _TASKS.items():
            runs[name].append(_run(task, population))
    population.costs |= {name: summarise(costs) for name, costs in runs.items()}


def _measure_peers(population: Population) -> None:
    """Keras and CleanVision on the same files, unpacked as they want them."""
    if _WITHOUT_PEERS:
        return
    files = population.folder / "files"
    with zipfile.ZipFile(next((population.folder / RAW).glob("*.zip"))) as archive:
        archive.extractall(files)
    population.costs[_KERAS] = measure(peers.keras_epoch, files, _IMAGE_SIZE)
    try:
        python = make_environment("cleanvision", _CLEANVISION_VERSION)
        population.costs[_CLEANVISION] = measure(peers.cleanvision_duplicates, files, python=python)
    except FailedTaskError as error:
        print(f"{_CLEANVISION}: not run: {error}")


def _fit(populations: list[Population], task: str) -> float:
    sizes, costs = zip(*((population.num_images, population.costs[task]) for population in populations), strict=True)
    return round(fit_exponent(sizes, costs), 3)


def _compare(population: Population) -> dict[str, object]:
    """Ratios on one population, those to peers where these were measured; of several populations, the later ones count."""
    figures: dict[str, object] = {
        "ratio_to_floor": population.ratio("fuse", "floor"),
        "ratio_decode_to_floor": population.ratio("fuse: decode", "floor"),
        "ratio_control": population.ratio("floor again", "floor"),
        "peak_rss_mb": round(max(population.costs[name].peak_rss for name in _TASKS) / 1e6),
    }
    if _KERAS in population.costs:
        figures["ratio_keras_loader"] = population.ratio(_KERAS, "epoch from shards")
        figures["ratio_keras_decode"] = population.ratio(_KERAS, "fuse: decode")
    if _CLEANVISION in population.costs:
        ours = population.costs["fuse: decode"].cpu + population.costs["fuse: near duplicates"].cpu
        figures["ratio_cleanvision"] = round(population.costs[_CLEANVISION].cpu / ours, 3)
    return figures


def _show(population: Population) -> None:
    table = Table("", "CPU-s per 1,000", "times the floor", "wall, s", "peak RSS, MB", title=population.title, title_justify="left")
    for column in table.columns[1:]:
        column.justify = "right"
    for name, cost in population.costs.items():
        per_thousand, ratio = cost.cpu * 1000 / population.num_images, population.ratio(name, "floor")
        table.add_row(name, f"{per_thousand:.3f}", f"{ratio:.2f}", f"{cost.wall:.1f}", f"{cost.peak_rss / 1e6:.0f}")
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
