"""Who computes when: first come, first served, one thread for each request, and a refusal once too many wait.

Left to themselves the threads of a web server compute all at once, and the operating system decides who finishes: a few callers then
wait for seconds. Here a handful of compute threads take work in the order of its arrival.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

from serving.cores import num_cores

Result = TypeVar("Result")


class OverloadedError(RuntimeError):
    """As many requests as may wait are waiting; the caller should try again later."""


class ComputeQueue:
    """Compute threads, and a bounded number of requests that wait for them."""

    def __init__(self, num_threads: int = 0, max_waiting: int = 64) -> None:
        """Start with `num_threads` threads, by default one for each core; `max_waiting` requests may wait beyond those computing."""
        self.num_threads = num_threads or num_cores()
        self.max_waiting = max_waiting
        self.num_admitted = 0
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(self.num_threads, thread_name_prefix="compute")

    @contextmanager
    def admit(self) -> Iterator[None]:
        """Hold a place for one request while the body runs.

        Raises:
            OverloadedError: Every place is taken.
        """
        with self._lock:
            if self.num_admitted >= self.num_threads + self.max_waiting:
                raise OverloadedError(f"{self.max_waiting} requests are waiting already; try again in a second")
            self.num_admitted += 1
        try:
            yield
        finally:
            with self._lock:
                self.num_admitted -= 1

    def submit(self, work: Callable[[], Result]) -> Future[Result]:
        """Queue one piece of an admitted request's work. A request of many photos submits them one by one, so others get their turn."""
        return self._pool.submit(work)

    def close(self) -> None:
        """Finish what has started, and take no more."""
        self._pool.shutdown(cancel_futures=True)
