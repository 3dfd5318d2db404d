from __future__ import annotations

import threading
from contextlib import ExitStack

import pytest

from serving.admission import ComputeQueue, OverloadedError


def test_work_is_done_in_the_order_of_its_arrival() -> None:
    queue, gate, order = ComputeQueue(num_threads=1), threading.Event(), []
    queue.submit(gate.wait)
    futures = [queue.submit(lambda number=number: order.append(number)) for number in range(50)]  # type: ignore[misc]
    gate.set()
    for future in futures:
        future.result(timeout=10)
    assert order == list(range(50))


def test_no_more_threads_compute_than_there_are_places() -> None:
    queue, together = ComputeQueue(num_threads=2), threading.Barrier(2)
    assert [future.result(timeout=10) for future in [queue.submit(together.wait) for _ in range(2)]] in ([0, 1], [1, 0])
    three = threading.Barrier(3)
    futures = [queue.submit(lambda: three.wait(timeout=0.3)) for _ in range(3)]
    assert all(isinstance(future.exception(timeout=10), threading.BrokenBarrierError) for future in futures)


def test_a_request_beyond_the_bound_is_refused_and_a_place_is_given_back() -> None:
    queue = ComputeQueue(num_threads=1, max_waiting=2)
    with ExitStack() as places:
        for _ in range(3):
            places.enter_context(queue.admit())
        with pytest.raises(OverloadedError, match="2 requests are waiting"), queue.admit():
            pass
    with pytest.raises(KeyError), queue.admit():
        raise KeyError
    assert queue.num_admitted == 0
