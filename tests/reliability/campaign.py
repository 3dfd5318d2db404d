"""Runs that something happens to, and what an undisturbed run comes to.

In: a folder. Out: the shipped command in it as a process that can be watched through MLflow's database and its own output, killed as a
power cut would, and compared. What is compared is what a run is for: dataset, figures, answers, verdict.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import psutil

from tests.pipeline.workspace import Workspace

MODEL = "steady"
RECIPE = f"""
name: {MODEL}
model: {MODEL}
seed: 2
image_size: 32
sources:
  archives:
    - {{name: dogs-vs-cats, provider: sample, layout: dogs_vs_cats, num_images: 160}}
split: {{validation: 0.2, test: 0.25}}
augment: {{views: 1, rotate: 10}}
candidates:
  - {{name: cnn, architecture: simple_cnn, mode: scratch, epochs: 4, options: {{conv_layers: 2, layer_size: 8}}}}
  - {{name: frozen, architecture: efficientnet_lite0, mode: frozen}}
gate: {{floor: 0.0, min_images: 5, max_log_loss: 100.0}}
"""
#: As their MLflow runs are called, in the order in which they happen.
STEPS = ("download dogs-vs-cats", "fuse", "augment", "train cnn", "train frozen", "evaluate", "register", "promote")
#: Seconds after which a run counts as hanging.
PATIENCE = float(os.environ.get("PAWFLOW_RELIABILITY_PATIENCE") or 600)


@dataclass(frozen=True)
class Row:
    """A line of the report."""

    what: str
    when: str
    outcome: str
    seconds: float


@dataclass
class Report:
    """What the campaign has found so far.

    Attributes:
        seed: Of everything that is drawn.
        rows: Its table.
    """

    seed: int
    rows: list[Row] = field(default_factory=list)

    @contextmanager
    def row(self, what: str, when: str = "") -> Iterator[list[str]]:
        """Time the body; it appends what happened, and whatever it raises is a row too."""
        told: list[str] = []
        started = time.monotonic()
        try:
            yield told
        except BaseException as error:
            told.append(f"**failed**: {type(error).__name__}: {str(error).splitlines()[0][:200] if str(error) else ''}")
            raise
        finally:
            self.rows.append(Row(what, when, "; ".join(told), time.monotonic() - started))

    def write(self, path: Path) -> None:
        """As Markdown."""
        lines = [f"| {row.what} | {row.when} | {row.outcome.replace('|', ' ')} | {row.seconds:.0f} |" for row in self.rows]
        heading = ["| what was done | when | what happened | seconds |", "| --- | --- | --- | ---: |"]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"Seed {self.seed}.\n\n" + "\n".join([*heading, *lines]) + "\n")


class Place(Workspace):
    """A workspace in which `steady` runs, with a cache of its own."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, MODEL)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{MODEL}.yaml").write_text(RECIPE)
        self.environment |= {"PAWFLOW_HOME": str(self.home), "PYTHONUNBUFFERED": "1"}

    @property
    def home(self) -> Path:
        """The cache and the runs."""
        return self.folder / "home"

    def start(self, *overrides: str, prefix: tuple[str, ...] = ()) -> Run:
        """Start a run."""
        return Run(self, [*prefix, sys.executable, "-m", "pipeline", "run", "--recipe", f"{MODEL}.yaml", *overrides])

    def complete(self, *overrides: str) -> str:
        """Run to a good end; returns what was printed."""
        code, told = self.start(*overrides).end()
        assert code == 0, told
        return told

    def result(self) -> dict[str, Any]:
        """What the newest run that came to a verdict has come to, without what a clock decides."""
        folder = max(self.home.glob("runs/*/**/verdict.json"), key=lambda path: path.stat().st_mtime)
        run = next(parent for parent in folder.parents if parent.parent.name == "runs")
        verdict = json.loads(folder.read_text())
        (metrics_file,) = run.rglob("metrics.json")
        metrics = json.loads(metrics_file.read_text())
        for candidate in metrics["candidates"].values():
            del candidate["latency_ms"]
        answers = pd.read_parquet(metrics_file.with_name("predictions.parquet"))
        champion = self.client.get_model_version_by_alias(MODEL, "champion")
        return {
            "dataset": verdict["dataset_digest"],
            "metrics": json.loads(json.dumps(metrics, sort_keys=True)),
            "answers": answers.to_csv(index=False),
            "winner": verdict["candidate"],
            "checks": [check["passed"] for check in verdict["checks"] if check["name"] in ("floor", "log_loss", "size", "confounding")],
            "champion": (*(champion.tags[f"pawflow.{name}"] for name in ("candidate", "dataset_digest", "promote")),),
        }

    def unjudged_versions(self) -> list[str]:
        """Numbers of versions that a register step has left without a verdict."""
        versions = self.client.search_model_versions(f"name = '{self.model}'")
        return [version.version for version in versions if "pawflow.verdict" not in version.tags]

    def open_runs(self) -> set[str]:
        """Names of MLflow runs that say that they are running; read without MLflow, which would create what is missing."""
        try:
            with contextlib.closing(sqlite3.connect(f"file:{self.folder}/mlflow.db?mode=ro", uri=True)) as database:
                return {name for (name,) in database.execute("select name from runs where status = 'RUNNING'")}
        except sqlite3.Error:
            return set()


class Run:
    """A started command, and its output in a file."""

    def __init__(self, place: Place, command: list[str]) -> None:
        self.place = place
        self.log = place.folder / f"run-{time.time_ns()}.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                command, cwd=place.folder, env=place.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )

    @property
    def told(self) -> str:
        """What it has printed so far."""
        return self.log.read_text(errors="replace")

    def wait_until(self, condition: Callable[[], bool]) -> None:
        """Wait for something to happen while it runs."""
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert self.process.poll() is None, f"it ended before that: {self.told}"
            assert time.monotonic() < deadline, f"it hangs: {self.told}"
            time.sleep(0.02)

    def wait_for_step(self, step: str) -> None:
        """Wait until a step's MLflow run has been opened."""
        self.wait_until(lambda: step in self.place.open_runs())

    def has_a_champion(self) -> bool:
        """Whether it has said which one."""
        return any(words in self.told for words in ("is the champion now", "kept the champion"))

    def tasks(self) -> list[psutil.Process]:
        """All processes below it."""
        with contextlib.suppress(psutil.NoSuchProcess):
            return psutil.Process(self.process.pid).children(recursive=True)
        return []

    def kill(self) -> None:
        """Everything at once, as a power cut would as far as processes can tell."""
        tasks = self.tasks()
        self.process.kill()
        for task in tasks:
            with contextlib.suppress(psutil.NoSuchProcess):
                task.kill()
        self.process.wait()

    def end(self) -> tuple[int, str]:
        """Wait for the end; returns the exit code and what was printed."""
        try:
            code = self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"it hangs: {self.told}") from None
        return code, self.told

    def fail(self) -> str:
        """Wait for an end as it should be when something is wrong: exit code 2, one sentence, no traceback; returns the sentence."""
        code, told = self.end()
        assert code == 2, (code, told)
        assert "Traceback" not in told, told
        assert "ERROR:root" not in told, told
        sentences = [line.partition("error: ")[2] for line in told.splitlines() if "error: " in line]
        assert sentences, told
        return sentences[0]


def leftovers(place: Place) -> list[str]:
    """Command lines of processes that still work in a place."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.pid == os.getpid():
                continue
            if str(place.folder) in process.cwd() or str(place.folder) in " ".join(process.cmdline()):
                found.append(" ".join(process.cmdline())[:200])
    return found


def wait_for_quiet(place: Place, seconds: float = 60) -> None:
    """Wait until no process works in a place any more."""
    deadline = time.monotonic() + seconds
    while leftovers(place):
        assert time.monotonic() < deadline, leftovers(place)
        time.sleep(0.2)


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a process that leads a group, with all of the group."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(20)
            return
