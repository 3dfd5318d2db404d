"""A training under way: where it stands, how it is kept, and how a signal ends it with nothing lost.

In: the candidate's checkpoints, if any are kept. Out: `Progress` and arrays, put back where they were when a training continues.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np

from components.common.progress import say
from components.train.checkpoints import Arrays, Checkpoint, Checkpoints, Progress


class Session:
    """One process's part of a training.

    Attributes:
        progress: Where the training stands.
        best: Weights of the best epoch so far.
        stop_requested: Whether a signal asked to stop.
    """

    def __init__(self, checkpoints: Checkpoints | None) -> None:
        self._checkpoints = checkpoints
        found = checkpoints.load() if checkpoints else None
        self.progress = found.progress if found else Progress()
        self.best: Arrays = []
        self.stop_requested = False
        self._restored = found.arrays if found else {}
        self._seconds_before = self.progress.seconds - time.perf_counter()
        self._cpu_seconds_before = self.progress.cpu_seconds - time.process_time()
        if found:
            self.progress.num_resumed += 1
            where = f"{self.progress.phase} epoch {self.progress.epoch + 1}, batch {self.progress.batch + 1}"
            say(f"continuing at {where}, from a checkpoint (time {self.progress.num_resumed})")

    def clock(self) -> None:
        """Note the time spent, that of earlier processes up to their last checkpoint included."""
        self.progress.seconds = self._seconds_before + time.perf_counter()
        self.progress.cpu_seconds = self._cpu_seconds_before + time.process_time()

    def enter(self, phase: str, network: keras.Model) -> None:
        """Begin a phase, or put a compiled network and its optimiser back where the checkpoint left them in it."""
        if self._restored:
            assign(network.variables, self._restored["network"])
            assign(network.optimizer.variables, self._restored["optimizer"])
            self.best, self._restored = self._restored.get("best", []), {}
        else:
            self.progress.begin(phase)

    def save(self, network: keras.Model) -> None:
        """Write a checkpoint."""
        if self._checkpoints:
            self.clock()
            arrays = {"network": copy(network.variables), "optimizer": copy(network.optimizer.variables), "best": self.best}
            self._checkpoints.save(Checkpoint(self.progress, arrays))

    def discard(self) -> None:
        """Remove all checkpoints."""
        if self._checkpoints:
            self._checkpoints.clear()

    @contextmanager
    def stoppable(self) -> Iterator[None]:
        """While the body runs, note SIGTERM and Ctrl-C instead of dying of them."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def note(number: int, frame: object) -> None:
            self.stop_requested = True

        before = {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def copy(variables: list[Any]) -> Arrays:
    """Values of Keras variables."""
    return [np.array(keras.ops.convert_to_numpy(variable)) for variable in variables]


def assign(variables: list[Any], arrays: Arrays) -> None:
    """Set Keras variables."""
    for variable, array in zip(variables, arrays, strict=True):
        variable.assign(array)
