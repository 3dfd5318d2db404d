"""Work on all cores, in order, in bounded memory.

Threads and no processes: decoding, resizing and hashing happen in libraries that let other threads run meanwhile, and pixels need not
be copied from process to process. Work should come in lots of a millisecond or more, or handing it over costs more than doing it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from serving.cores import num_cores

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_on_all_cores(work: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """Yield the results in the order of `items`, of which only a few for each core are in memory at a time."""
    num_threads = num_cores()
    pending: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(num_threads) as pool:
        for item in items:
            pending.append(pool.submit(work, item))
            if len(pending) > 2 * num_threads:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
