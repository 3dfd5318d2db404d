"""Measuring, the same way everywhere: work runs in a process of its own, which is charged for processor time and watched for memory.

CPU-seconds, not seconds on the clock, are what is compared: they hardly change when others use the machine. The process that does the
work prepares itself first (imports, files), then times the work alone; its memory is that of its whole life.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np

from components.common.store import home

#: Does all that is not to be measured, and returns what is; run by `benchmarks.child`.
Task: TypeAlias = Callable[..., Callable[[], object]]

_ROOT = Path(__file__).parents[1]


class FailedTaskError(RuntimeError):
    """A measured process ended with an error; the message is the end of what it said."""


@dataclass(frozen=True)
class Cost:
    """What one piece of work took.

    Attributes:
        cpu: Processor time of all its threads and child processes, in seconds.
        wall: Time on the clock, in seconds.
        peak_rss: Most memory at one time, in bytes, of the process or of the largest of its children.
    """

    cpu: float
    wall: float
    peak_rss: int


def measure(task: Task, *arguments: object, python: str | Path = sys.executable, variables: Mapping[str, str] | None = None) -> Cost:
    """Run a task in a fresh process.

    Args:
        task: A function of a module; its arguments arrive as text.
        arguments: Of the task.
        python: The interpreter, of another environment perhaps.
        variables: Environment variables besides the present ones.

    Raises:
        FailedTaskError: It ends with an error.
    """
    command = [str(python), "-m", "benchmarks.child", task.__module__, task.__name__, *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(_ROOT), **(variables or {})}
    # To a file, not a pipe: a library may leave a process behind that keeps a pipe open.
    with tempfile.TemporaryFile("w+") as output:
        done = subprocess.run(command, env=environment, stdout=output, stderr=subprocess.STDOUT)
        output.seek(0)
        lines = output.read().strip().splitlines()
    if done.returncode:
        raise FailedTaskError("\n".join(lines[-20:]))
    return Cost(**json.loads(lines[-1]))


def summarise(costs: Sequence[Cost]) -> Cost:
    """Repetitions as one: the median of the times, the worst of the memory."""
    return Cost(
        statistics.median(cost.cpu for cost in costs),
        statistics.median(cost.wall for cost in costs),
        max(cost.peak_rss for cost in costs),
    )


def fit_exponent(sizes: Sequence[int], costs: Sequence[Cost]) -> float:
    """The exponent e of cost = c * size^e, by least squares on the logarithms of CPU-seconds; 1 is linear."""
    slope, _ = np.polyfit(np.log(sizes), np.log([cost.cpu for cost in costs]), 1)
    return float(slope)


def make_environment(name: str, *requirements: str) -> Path:
    """The interpreter of an environment that holds certain packages (arguments of `pip install`), made on first use.

    Raises:
        FailedTaskError: It cannot be made; the message is the installer's.
    """
    folder = home() / "benchmarks" / name
    python, ready = folder / "bin" / "python", folder / ".ready"
    if not ready.is_file() or ready.read_text() != "\n".join(requirements):
        make: list[str | Path] = [sys.executable, "-m", "venv", "--clear", folder]
        install: list[str | Path] = [python, "-m", "pip", "install", "--quiet", *requirements]
        for command in (make, install):
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:
                raise FailedTaskError(done.stderr.strip()[-500:])
        ready.write_text("\n".join(requirements))
    return python
