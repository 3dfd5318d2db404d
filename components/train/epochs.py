"""One phase of gradient training, epoch by epoch, with a checkpoint after each.

In: a compiled network, batches and a `Session`. Out: the network with the weights of its best epoch. Keras trains one epoch at a time, so
that `Progress` holds all that decides on the next, and whoever continues from a checkpoint does what an uninterrupted training would do.
Where weights are averaged, Keras leaves the averages in the network at the end of an epoch: they are what is validated and kept, and
training goes on from the weights before.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import keras
from tqdm import tqdm

from components.common import tracking
from components.common.candidate import Candidate, Target
from components.common.errors import PawflowError, StoppedError
from components.common.progress import say
from components.train.batches import TrainingBatches, ValidationBatches
from components.train.checkpoints import Arrays, Progress
from components.train.optimisers import last_rate
from components.train.session import Session, assign, copy

#: Metrics of which less is better.
_LOSSES = frozenset({"loss", "val_loss"})
#: Phase -> the candidate's field that is its rate, where that is not `learning_rate`.
_RATES = {"body": "fine_tune_rate"}
#: Seconds between two words about an epoch that takes long.
_SILENCE = 30.0


class _StopRequested(Exception):  # noqa: N818
    """Ends Keras's loop in the middle of an epoch."""


class _Watch(keras.callbacks.Callback):  # type: ignore[misc]
    """Counts batches, keeps the weights that averages will replace, and ends the loop when a signal asked for it."""

    def __init__(self, session: Session, train: TrainingBatches, candidate: Candidate, title: str) -> None:
        super().__init__()
        self._session, self._train, self._candidate, self._title = session, train, candidate, title
        self._first, self._started = session.progress.batch, time.perf_counter()
        self._said = self._started
        self.raw: Arrays = []

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Add a batch to the progress."""
        progress, now = self._session.progress, time.perf_counter()
        progress.batch += 1
        if now > self._said + _SILENCE:
            self._said = now
            left = (now - self._started) / (progress.batch - self._first) * (self._train.num_in_epoch - progress.batch)
            say(f"{self._title}: batch {progress.batch} of {self._train.num_in_epoch}, {tqdm.format_interval(left)} left in this epoch")
        if self._session.stop_requested:
            progress.add({name: float(mean) for name, mean in (logs or {}).items()}, self._train.count(self._first, progress.batch))
            raise _StopRequested

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Copy the weights, which Keras is about to replace."""
        if self._candidate.ema:
            self.raw = copy(self.model.trainable_variables)

    def on_test_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Leave validation; it starts again when training continues."""
        if self._session.stop_requested:
            raise _StopRequested


def run_phase(
    network: keras.Model,
    train: TrainingBatches,
    validation: ValidationBatches,
    candidate: Candidate,
    session: Session,
    *,
    phase: str,
    num_epochs: int,
) -> None:
    """Train until the last epoch, or until a better one is no longer to be expected, and keep the best epoch's weights.

    Raises:
        PawflowError: The loss is no longer a number; then no checkpoint is left.
        StoppedError: A signal asked to stop; then the state has been saved.
    """
    progress, peak = session.progress, getattr(candidate, _RATES.get(phase, "learning_rate"))
    session.enter(phase, network)
    with session.stoppable():
        while progress.epoch < num_epochs and not progress.stopped:
            started, title = time.perf_counter(), f"{phase} epoch {progress.epoch + 1}/{num_epochs}"
            rate = last_rate(candidate, peak, train.num_in_epoch, num_epochs, progress.epoch)
            try:
                _run_epoch(network, train, validation, candidate, session, title, rate)
                _report(title, progress, (time.perf_counter() - started) * (num_epochs - progress.epoch))
            except _StopRequested:
                pass
            session.save(network)
            if session.stop_requested:
                raise StoppedError(f"stopped by a signal in {title} after batch {progress.batch}; the same command continues there")
    assign(network.weights, session.best)


def _run_epoch(
    network: keras.Model,
    train: TrainingBatches,
    validation: ValidationBatches,
    candidate: Candidate,
    session: Session,
    title: str,
    rate: float,
) -> None:
    progress, first = session.progress, session.progress.batch
    watch = _Watch(session, train, candidate, title)
    # Counted over both phases, or else the second would repeat the order and the variations of the first.
    train.begin(epoch=len(progress.history.get("loss", [])), first=first)
    if len(train):
        # The batches are shuffled already; Keras would shuffle their order once more, with a generator that no checkpoint holds.
        means = network.fit(train, shuffle=False, verbose=0, callbacks=[keras.callbacks.TerminateOnNaN(), watch]).history
        progress.add({name: values[0] for name, values in means.items()}, train.count(first, train.num_in_epoch))
        _require_finite(progress.sums["loss"], candidate, session)
    with _averaged(network, watch.raw) if candidate.ema else nullcontext():
        means = network.evaluate(validation, verbose=0, return_dict=True, callbacks=[watch])
        # The last step of an epoch may be the one that goes wrong, and only validation sees the weights after it.
        # And what a normalisation remembers may be infinite while the loss is not.
        _require_finite(means["loss"] + _sum(network.weights), candidate, session)
        values = progress.finish_epoch({"learning_rate": rate, **{f"val_{name}": float(value) for name, value in means.items()}})
        tracking.log_epoch(len(progress.history["loss"]), values)
        if _is_kept(progress, candidate, values):
            session.best = copy(network.weights)


@contextmanager
def _averaged(network: keras.Model, raw: Arrays) -> Iterator[None]:
    """Have the averaged weights in the network while the body runs."""
    # Nothing was copied if training continues with the validation of an epoch.
    raw = raw or copy(network.trainable_variables)
    network.optimizer.finalize_variable_values(network.trainable_variables)
    try:
        yield
    finally:
        assign(network.trainable_variables, raw)


def _sum(variables: list[Any]) -> float:
    """Of all numbers in Keras variables, which is finite if they are."""
    return sum(float(keras.ops.convert_to_numpy(keras.ops.sum(keras.ops.cast(variable, "float64")))) for variable in variables)


def _require_finite(loss: float, candidate: Candidate, session: Session) -> None:
    if not math.isfinite(loss):
        # Whoever continued from the last epoch would come to the same end.
        session.discard()
        rate = _RATES.get(session.progress.phase, "learning_rate")
        raise PawflowError(
            f"candidate {candidate.name!r} diverged: its loss is no longer a number; lower its {rate} (now {getattr(candidate, rate):g})"
        )


def _is_kept(progress: Progress, candidate: Candidate, values: dict[str, float]) -> bool:
    """Whether this epoch is the best so far, or good enough; notes when to stop."""
    value = values[candidate.monitor]

    def is_better(than: float | None) -> bool:
        return than is None or (value < than if candidate.monitor in _LOSSES else value > than)

    # A phase that begins worse than the one before has the same patience; what is kept is the best of all.
    progress.best_of_phase, progress.wait = (value, 0) if is_better(progress.best_of_phase) else (progress.best_of_phase, progress.wait + 1)
    is_best = is_better(progress.best)
    progress.best = value if is_best else progress.best
    progress.reached = candidate.stop_at is not None and _reaches(candidate.stop_at, values)
    progress.stopped = progress.reached or progress.wait >= candidate.patience
    return is_best or progress.reached


def _reaches(target: Target, values: dict[str, float]) -> bool:
    value = values[target.metric]
    return value <= target.value if target.metric in _LOSSES else value >= target.value


def _report(title: str, progress: Progress, seconds_left: float) -> None:
    last = {name: values[-1] for name, values in progress.history.items()}
    ending = "target reached" if progress.reached else "no longer better" if progress.stopped else ""
    say(
        f"{title}: loss {last['loss']:.3f}, accuracy {last['accuracy']:.3f}, val loss {last['val_loss']:.3f}, "
        f"val accuracy {last['val_accuracy']:.3f}; {ending or f'at most {tqdm.format_interval(seconds_left)} left'}"
    )
