"""What a step tells the person who waits: one line at a time, readable in a terminal and in a cluster's log alike.

Steps run as child processes whose output is a pipe, so a progress bar is printed as whole lines, one every few seconds, instead of
being redrawn in place. Each line starts with `MARK` and the step's label, by which the local runner tells it from library noise.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, redirect_stderr
from contextvars import ContextVar
from typing import TextIO, TypeVar, cast

from tqdm import tqdm

MARK = "pawflow| "

#: Seconds between two lines of a library's bar.
_INTERVAL = 3.0

Item = TypeVar("Item")

_label: ContextVar[str] = ContextVar("label", default="pawflow")


@contextmanager
def labelled(label: str) -> Iterator[None]:
    """Print everything said inside under this label ("fuse", "train simple_cnn")."""
    token = _label.set(label)
    yield
    # Not reset when the body fails: the error that ends the process is then reported under the label of what failed.
    _label.reset(token)


def say(message: str) -> None:
    """Print `message`, each of its lines under the current label."""
    for line in message.splitlines():
        sys.stdout.write(f"{MARK}{_label.get()}| {line}\n")
    sys.stdout.flush()


class _Lines:
    """A text stream on which each redraw of a bar becomes a line of its own."""

    def write(self, text: str) -> None:
        line = text.strip("\r\n ")
        if line:
            say(line)

    def flush(self) -> None:
        sys.stdout.flush()


class _SparseLines(_Lines):
    """The same for bars that are redrawn many times a second: one line every few seconds."""

    def __init__(self) -> None:
        self._next = time.monotonic() + _INTERVAL

    def write(self, text: str) -> None:
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + _INTERVAL
            super().write(text)


@contextmanager
def relayed() -> Iterator[None]:
    """Show the progress bars that a library draws on standard error while the body runs."""
    with redirect_stderr(cast(TextIO, _SparseLines())):
        yield


def track(items: Iterable[Item], description: str, *, total: int | None = None, unit: str = "image") -> Iterator[Item]:
    """Yield `items` unchanged while reporting how many have passed, the rate and the time left; silent if it takes under a second.

    Args:
        items: What to iterate over.
        description: What is being done ("decoding dogs-vs-cats").
        total: Number of items, where `len(items)` does not say.
        unit: Singular noun of one item.
    """
    yield from tqdm(items, description, total=total, unit=f" {unit}s", file=_Lines(), delay=1.0, mininterval=2.0, maxinterval=4.0, ncols=96)


@contextmanager
def measure(description: str, *, total: int | None, done: int = 0) -> Iterator[Callable[[int], object]]:
    """Report how many bytes have come, the rate and the time left; silent if it takes under a second.

    Args:
        description: What is being fetched ("fetching petimages").
        total: Bytes in all, if that is known.
        done: Bytes that were there before.

    Yields:
        A function to call with the number of each lot of new bytes.
    """
    bar = tqdm(desc=description, total=total, initial=done, unit="B", unit_scale=True, file=_Lines(), delay=1.0, mininterval=2.0, ncols=96)
    with bar:
        yield bar.update
