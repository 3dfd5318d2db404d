"""The registry comes, goes and changes, and the gateway answers on, over real HTTP."""

from __future__ import annotations

import threading
from functools import partial

import pytest

from serving.gateway.sources import FolderSource, SourceError
from tests.processes import wait_until
from tests.serving.gateway.conftest import StartGateway
from tests.serving.http import Client, draw

BRIGHT = draw(255)


class _Unreachable:
    model = "away"

    def read_aliases(self) -> dict[str, str]:
        raise SourceError("the registry does not answer")

    def load(self, number: str) -> None:
        raise AssertionError


def test_without_a_registry_it_waits_and_says_so(start_gateway: StartGateway) -> None:
    client = start_gateway(_Unreachable())
    assert client.get("/healthz").status_code == 200
    ready = client.get("/readyz")
    assert (ready.status_code, ready.json()) == (503, {"status": "not ready", "problem": "the registry does not answer"})
    assert "pawflow_registry_up 0.0\n" in client.get("/metrics").text
    refused = client.post("/predict", data=BRIGHT)
    assert (refused.status_code, refused.json()["message"]) == (503, "no model can answer yet: the registry does not answer")


def test_a_registry_that_goes_away_leaves_a_gateway_that_is_ready(
    start_gateway: StartGateway, two_models: FolderSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = start_gateway(two_models, poll_seconds=0.05)
    ready = client.get("/readyz")
    assert (ready.status_code, ready.json()) == (200, {"status": "ok", "problem": ""})
    assert "pawflow_registry_up 1.0\n" in client.get("/metrics").text
    with monkeypatch.context() as away:
        away.setattr(two_models, "read_aliases", _Unreachable().read_aliases)
        wait_until(lambda: "pawflow_registry_up 0.0\n" in client.get("/metrics").text)
        ready = client.get("/readyz")
        assert (ready.status_code, ready.json()) == (200, {"status": "ok", "problem": "the registry does not answer"})
        assert client.post("/predict", data=BRIGHT).status_code == 200
    wait_until(lambda: "pawflow_registry_up 1.0\n" in client.get("/metrics").text)


def test_the_champion_is_replaced_without_dropping_a_request(
    start_gateway: StartGateway, two_models: FolderSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = start_gateway(two_models, poll_seconds=0.05)
    aliases, stop = two_models.read_aliases(), threading.Event()
    statuses: list[int] = []
    versions: list[str] = []

    def ask() -> None:
        with Client(client.address) as own:
            while not stop.is_set():
                answer = own.post("/predict", data=BRIGHT)
                statuses.append(answer.status_code)
                versions.append(answer.json()["predictions"][0]["model_version"])

    askers = [threading.Thread(target=ask, daemon=True) for _ in range(4)]

    def answered_or_dropped(number: str) -> bool:
        return versions[-1:] == [number] or not all(asker.is_alive() for asker in askers)

    for asker in askers:
        asker.start()
    try:
        for number in [aliases["challenger"], aliases["champion"]] * 5:
            monkeypatch.setattr(two_models, "read_aliases", lambda number=number: {"champion": number})
            wait_until(partial(answered_or_dropped, number))
    finally:
        stop.set()
        for asker in askers:
            asker.join(20)
    assert set(statuses) == {200}
    assert set(versions) == {aliases["champion"], aliases["challenger"]}
