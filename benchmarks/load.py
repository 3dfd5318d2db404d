"""Callers: one after the other over one connection, or at times of their own choosing whether or not the earlier have been answered.

The second is how people come, and what they wait for counts from when they came (Schroeder et al., "Open Versus Closed", 2006).
"""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

_PATIENCE = 120.0
#: Servers close a connection that is idle for longer, in seconds; the next request then opens another.
_KEPT = 2.0


@dataclass(frozen=True)
class Call:
    """One request, ready to be sent."""

    path: str
    body: bytes
    content_type: str


class Caller:
    """A connection that is kept."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_PATIENCE)
        self._used = time.monotonic()

    def send(self, call: Call) -> bytes:
        """The body of the answer.

        Raises:
            RuntimeError: The status is not 200.
        """
        if time.monotonic() - self._used > _KEPT:
            self._connection.close()
        self._used = time.monotonic()
        self._connection.request("POST", call.path, call.body, {"Content-Type": call.content_type})
        answer = self._connection.getresponse()
        body = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"status {answer.status}: {body[:300]!r}")
        return body

    def close(self) -> None:
        """Hang up."""
        self._connection.close()


def send_in_turn(port: int, calls: Sequence[Call], number: int) -> None:
    """Send `number` requests, each after the answer to the one before."""
    caller = Caller(port)
    for position in range(number):
        caller.send(calls[position % len(calls)])
    caller.close()


def send_as_they_come(port: int, calls: Sequence[Call], number: int, rate: float, seed: int) -> list[float]:
    """Send `number` requests at random times, `rate` in a second on average.

    Returns:
        Seconds from when each was due until it was answered.
    """
    due = np.cumsum(np.random.default_rng(seed).exponential(1 / rate, number))
    callers = threading.local()
    started = time.perf_counter()

    def send(position: int) -> float:
        if not hasattr(callers, "own"):
            callers.own = Caller(port)
        callers.own.send(calls[position % len(calls)])
        return time.perf_counter() - started - float(due[position])

    def wait() -> Iterator[int]:
        for position, moment in enumerate(due):
            time.sleep(max(0.0, float(moment) - (time.perf_counter() - started)))
            yield position

    # As many callers as requests that may be waiting at a time; threads are made only when all others are busy.
    with ThreadPoolExecutor(64) as pool:
        return [future.result() for future in [pool.submit(send, position) for position in wait()]]
