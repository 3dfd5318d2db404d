"""What the routes share, without HTTP."""

from __future__ import annotations

import asyncio
import threading

import pytest
from starlette.requests import Request
from starlette.types import Message

from serving.admission import OverloadedError
from serving.gateway.bodies import BodyReader
from serving.gateway.fleet import Fleet
from serving.gateway.gateway import Gateway
from serving.gateway.settings import Settings
from serving.gateway.sources import FolderSource, Version
from serving.options import Options
from tests.serving.http import draw


def test_the_bytes_of_all_requests_are_bounded_and_all_arrive() -> None:
    held: list[int] = []

    async def read_all() -> list[int]:
        reader = BodyReader(Settings(max_body=1000, max_buffered=2500, read_seconds=10))

        async def read() -> int:
            sizes = [100] * 9 + [50]

            async def receive() -> Message:
                held.append(reader.num_buffered)
                await asyncio.sleep(0)
                return {"type": "http.request", "body": bytes(sizes.pop()), "more_body": bool(sizes)}

            async with reader.read(Request({"type": "http", "headers": []}, receive)) as body:
                held.append(reader.num_buffered)
                await asyncio.sleep(0)
                return len(body)

        return await asyncio.gather(*(read() for _ in range(40)))

    assert asyncio.run(read_all()) == [950] * 40
    assert 1500 < max(held) <= 2500, "of the first, beside others that hold as much as leaves room for it"


def test_a_caller_who_has_left_is_not_answered_to_the_end(two_models: FolderSource) -> None:
    asked: list[bool] = []

    async def has_left() -> bool:
        asked.append(len(asked) == 2)
        return asked[-1]

    async def answer() -> int:
        gateway = Gateway(Fleet(two_models), Settings())
        async with gateway.run():
            response = await gateway.answer("champion", [draw(255)] * 5, Options(), has_left)
            assert gateway.fleet.leaders["champion"].tally.describe()["photos"] == 2
            return response.status_code

    assert asyncio.run(answer()) == 499
    assert asked == [False, False, True]


def test_who_asks_for_versions_that_are_not_loaded_waits_among_few(two_models: FolderSource, monkeypatch: pytest.MonkeyPatch) -> None:
    go_on, champion = threading.Event(), two_models.load(two_models.read_aliases()["champion"])

    def load_slowly(number: str) -> Version:
        go_on.wait(30)
        return champion

    async def ask() -> list[Version | BaseException]:
        gateway = Gateway(Fleet(two_models), Settings())
        async with gateway.run():
            monkeypatch.setattr(two_models, "load", load_slowly)
            waiting = [asyncio.create_task(gateway.find(str(number))) for number in range(100, 106)]
            while sum(task.done() for task in waiting) < 2:
                await asyncio.sleep(0.01)
            assert (await gateway.find("champion")).number == champion.number, "who asks for what is loaded does not wait"
            assert await asyncio.to_thread(gateway.fleet.refresh) is False, "and neither does a promotion"
            go_on.set()
            return await asyncio.gather(*waiting, return_exceptions=True)

    found = asyncio.run(ask())
    assert sum(isinstance(one, OverloadedError) for one in found) == 2
    assert sum(one is champion for one in found) == 4
