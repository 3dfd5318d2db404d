"""What training costs in processor time to a given accuracy on held-out photos, ours against what Keras's guides have people do.

No arguments. Frozen: the same network and weights on both sides. From scratch: our small residual network against the small Xception of
Keras's example. Input: batches from what fuse has stored against batches from files. Photos come from the folder that `PAWFLOW_DATA` names,
with `dogs-vs-cats.zip` and `dogs-vs-cats-96px.zip`; without it everything runs on drawings, which say that it runs and nothing else. It
prints tables and, last, one line of JSON. What the figures mean: benchmarks/README.md.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table
from scipy.stats import binomtest

from benchmarks import steps, trainers
from benchmarks.common import Task, measure
from benchmarks.trainers import Outcome
from benchmarks.workspace import DATASET, HOME, RECIPE, write_files
from components.common.dataset import Dataset
from components.common.store import home

_ROUNDS = int(os.environ.get("PAWFLOW_BENCHMARK_REPETITIONS", "2"))
#: Of CPU-seconds that one training of others may take; ours are not stopped.
_BUDGET = float(os.environ.get("PAWFLOW_BENCHMARK_BUDGET", "1000"))
_NUM_DRAWN = int(os.environ.get("PAWFLOW_BENCHMARK_DRAWN", "1000"))
_DRAWN = f"name: dogs-vs-cats, provider: sample, num_images: {_NUM_DRAWN}"
_RECIPE = """
name: benchmark
image_size: {image_size}
sources:
  root: {root}
  archives: [{{layout: dogs_vs_cats, {archive}}}]
split: {{validation: 0.1, test: 0.25}}
augment: {{views: 0, flip: true, crop: 0.15, shift: 0.05}}
candidates: [{candidate}]
"""


@dataclass(frozen=True)
class Peer:
    """Another way to train.

    Attributes:
        name: In tables.
        train: Does it.
        suffix: Of the figures that compare it with ours, `cpu_ratio_<question>`.
    """

    name: str
    train: Task
    suffix: str = ""


@dataclass(frozen=True)
class Question:
    """Several ways to the same accuracy.

    Attributes:
        title: Of its table.
        archive: Zip file with the photos, without its ending.
        image_size: In pixels.
        candidate: Ours, as a recipe has it.
        peers: Other ways.
        target: Accuracy that ends others' training, 0..1.
        rounds: How often all take their turn.
    """

    title: str
    archive: str
    image_size: int
    candidate: str
    peers: tuple[Peer, ...]
    target: float
    rounds: int


_FROZEN = Question(
    title="frozen EfficientNet-Lite0",
    archive="dogs-vs-cats",
    image_size=256,
    candidate="{name: lite0_frozen, architecture: efficientnet_lite0, mode: frozen, int8: true, augment: false}",
    peers=(
        Peer("Keras, every epoch", trainers.keras_frozen),
        Peer("Keras, features once", trainers.keras_features, "_features"),
    ),
    target=0.985,
    rounds=_ROUNDS,
)
_SCRATCH = Question(
    title="from scratch",
    archive="dogs-vs-cats-96px",
    image_size=96,
    candidate=(
        "{name: fast_resnet, architecture: fast_resnet, mode: scratch, options: {patch: 2, widths: [32, 64, 128, 256, 256]}, epochs: 4, "
        "batch_size: 128, optimizer: adamw, learning_rate: 0.004, weight_decay: 0.05, schedule: one_cycle, label_smoothing: 0.1, "
        "precision: mixed_bfloat16}"
    ),
    peers=(Peer("Keras's example", trainers.keras_xception),),
    target=0.85,
    rounds=1,
)
_OURS, _CONTROL, _KERAS = "ours", "ours again", "Keras"


def main() -> None:
    """Measure everything and print it."""
    scratch = home() / "benchmarks" / "training"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{scratch}/mlflow.db"
    figures: dict[str, object] = {}
    for key, question in {"frozen": _FROZEN, "scratch": _SCRATCH}.items():
        workspace = _prepare(question, scratch)
        outcomes = _train(question, workspace)
        _show(question, outcomes, len(Dataset(workspace / DATASET).rows("test")))
        figures |= _compare(key, question, outcomes)
    # Of the second question, whose photos are many and small.
    figures |= _measure_input(workspace)
    shutil.rmtree(scratch)
    print(json.dumps(figures))


def _prepare(question: Question, scratch: Path) -> Path:
    """Fetch and fuse the photos, or drawings in their place, and write the files for others."""
    root, workspace = Path(os.environ.get("PAWFLOW_DATA", ".")).absolute(), scratch / question.archive
    workspace.mkdir()
    is_there = (root / f"{question.archive}.zip").is_file()
    if not is_there:
        print(f"{question.title}: PAWFLOW_DATA names no folder that holds {question.archive}.zip, so this is about {_NUM_DRAWN} drawings")
    recipe = _RECIPE.format(
        image_size=question.image_size,
        root=root if is_there else "null",
        archive=f"name: {question.archive}, provider: local" if is_there else _DRAWN,
        candidate=question.candidate,
    )
    (workspace / RECIPE).write_text(recipe)
    for task in (steps.run_download, steps.run_fuse):
        _run(task, workspace)
    write_files(workspace)
    return workspace


def _run(task: Task, workspace: Path, *arguments: object) -> None:
    measure(task, workspace, *arguments, variables={"PAWFLOW_HOME": str(workspace / HOME), "MALLOC_ARENA_MAX": "2"})


def _train(question: Question, workspace: Path) -> dict[str, list[Outcome]]:
    """All take turns, ours twice in a round: the second is the control."""
    trainings: dict[str, tuple[Task, tuple[float, ...]]] = {
        _OURS: (trainers.ours, ()),
        **{peer.name: (peer.train, (question.target, _BUDGET)) for peer in question.peers},
        _CONTROL: (trainers.ours, ()),
    }
    outcomes: dict[str, list[Outcome]] = {name: [] for name in trainings}
    for number in range(question.rounds):
        for name, (task, arguments) in trainings.items():
            _run(task, workspace, *arguments)
            outcome = Outcome.read(workspace)
            outcomes[name].append(outcome)
            print(f"{question.title}, round {number + 1} of {question.rounds}: {name} took {outcome.cpu:.0f} CPU-seconds", flush=True)
    return outcomes


def _show(question: Question, outcomes: Mapping[str, list[Outcome]], num_photos: int) -> None:
    title = f"{question.title}: held-out accuracy of {question.target:.1%}, n = {num_photos}"
    table = Table("", "CPU-s", "of these before training", "epochs", "accuracy", "95 %", title=title, title_justify="left")
    for column in table.columns[1:]:
        column.justify = "right"
    for name, done in outcomes.items():
        for outcome in done:
            low, high = binomtest(round(outcome.accuracy * num_photos), num_photos).proportion_ci(method="wilson")
            unreached = "" if outcome.accuracy >= question.target else "> "
            row = (f"{unreached}{outcome.cpu:.0f}", f"{outcome.decoding:.0f}", f"{outcome.epochs:.2f}", f"{outcome.accuracy:.1%}")
            table.add_row(name, *row, f"{low:.1%} to {high:.1%}")
    Console(width=100).print(table)


def _compare(key: str, question: Question, outcomes: Mapping[str, list[Outcome]]) -> dict[str, object]:
    """The ratios of CPU-seconds; a bound from below if the others did not get there, and none if ours did not."""
    cpu = {name: statistics.median(outcome.cpu for outcome in done) for name, done in outcomes.items()}
    reached = {name: all(outcome.accuracy >= question.target for outcome in done) for name, done in outcomes.items()}
    figures: dict[str, object] = {f"cpu_ratio_{key}_control": round(cpu[_CONTROL] / cpu[_OURS], 3)}
    for peer in question.peers:
        figure = f"cpu_ratio_{key}{peer.suffix}"
        figures[figure] = round(cpu[peer.name] / cpu[_OURS], 2) if reached[_OURS] else None
        figures[f"{figure}_is_a_lower_bound"] = not reached[peer.name]
    return figures


def _measure_input(workspace: Path) -> dict[str, object]:
    tasks: dict[str, Task] = {_OURS: trainers.our_batches, _KERAS: trainers.keras_batches, _CONTROL: trainers.our_batches}
    variables = {"PAWFLOW_HOME": str(workspace / HOME)}
    runs: dict[str, list[float]] = {name: [] for name in tasks}
    for _ in range(_ROUNDS + 1):
        for name, task in tasks.items():
            runs[name].append(measure(task, workspace, variables=variables).cpu)
    num_images = len(Dataset(workspace / DATASET).rows("train"))
    table = Table("", "images per CPU-s", title=f"input: one epoch of {num_images} images, flipped and shifted", title_justify="left")
    cpu = {name: statistics.median(done) for name, done in runs.items()}
    for name, seconds in cpu.items():
        table.add_row(name, f"{num_images / seconds:,.0f}")
    Console(width=100).print(table)
    return {"ratio_input": round(cpu[_KERAS] / cpu[_OURS], 2), "ratio_input_control": round(cpu[_CONTROL] / cpu[_OURS], 3)}


if __name__ == "__main__":
    main()
