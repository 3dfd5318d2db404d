"""A gateway over real HTTP, in a thread of the test, with models of a few nodes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from serving.gateway.app import create_app
from serving.gateway.connections import server_options
from serving.gateway.fleet import Fleet
from serving.gateway.settings import Settings
from serving.gateway.sources import FolderSource, Source
from tests.conftest import write_mean_model
from tests.serving.http import Client, serve_app


@contextmanager
def serve(source: Source, settings: Settings) -> Iterator[Client]:
    with serve_app(create_app(Fleet(source), settings), **server_options(settings)) as client:
        yield client


StartGateway = Callable[..., Client]


@pytest.fixture
def start_gateway() -> Iterator[StartGateway]:
    """Start a gateway over a source: `start_gateway(source, max_body=1000)`."""
    with ExitStack() as stack:
        yield lambda source, **settings: stack.enter_context(serve(source, Settings(**settings)))


@pytest.fixture
def two_models(tmp_path: Path) -> FolderSource:
    """A champion for which bright is "dog", and a challenger of the opposite opinion."""
    folders = {"champion": write_mean_model(tmp_path / "bright", 32, 2.0), "challenger": write_mean_model(tmp_path / "dark", 32, -2.0)}
    return FolderSource(folders)


@pytest.fixture
def gateway(start_gateway: StartGateway, two_models: FolderSource) -> Client:
    return start_gateway(two_models)
