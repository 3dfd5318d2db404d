from __future__ import annotations

import contextlib
import errno
import os
import resource
import signal
import socket
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import mlflow
import pytest
import requests

from components.common import registry, tracking
from components.common.cli import attempt
from components.common.errors import PawflowError
from components.common.mishaps import OutageError, explain
from components.common.recipe import Recipe


def raised(function: object, *arguments: object) -> BaseException:
    """What a call raises."""
    with pytest.raises(Exception) as caught:  # noqa: PT011
        function(*arguments)  # type: ignore[operator]
    return caught.value


@contextlib.contextmanager
def no_file_larger_than(size: int) -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def open_step(recipe: Recipe) -> None:
    with tracking.step_run("fuse", recipe, ""):
        pass


def test_a_file_that_may_not_grow_is_said_with_its_remedy(tmp_path: Path) -> None:
    with no_file_larger_than(1000):
        error = raised((tmp_path / "large").write_bytes, bytes(2000))
    assert "raise the limit, then type the same command again" in str(explain(error))


@pytest.mark.parametrize(("number", "words"), [(errno.ENOSPC, "disk is full"), (errno.EROFS, "read-only"), (errno.EACCES, "rights")])
def test_a_refusal_behind_another_error_is_found(number: int, words: str) -> None:
    try:
        try:
            raise OSError(number, os.strerror(number), "some/file")
        except OSError as error:
            raise RuntimeError("a library's own words") from error
    except RuntimeError as error:
        known = explain(error)
    assert words in str(known)
    assert "some/file" in str(known)


def test_a_bug_stays_a_bug() -> None:
    assert explain(ValueError("?")) is None
    assert explain(FileNotFoundError(errno.ENOENT, "No such file", "x")) is None
    assert explain(requests.ConnectionError("of another server")) is None
    with pytest.raises(ZeroDivisionError):
        attempt(lambda: 1 / 0)


def test_a_bug_while_another_error_is_handled_is_no_error_of_the_users() -> None:
    def stumble(*, openly: bool) -> None:
        try:
            raise PawflowError("photo.jpg is missing")
        except PawflowError as error:
            if openly:
                raise ValueError("?") from error
            int("?")

    def forget() -> None:
        try:
            stumble(openly=True)
        except ValueError:
            raise ValueError("?") from None

    assert explain(raised(lambda: stumble(openly=False))) is None
    assert explain(raised(forget)) is None
    assert str(explain(raised(lambda: stumble(openly=True)))) == "photo.jpg is missing"


def test_an_answer_that_breaks_off_is_an_outage(monkeypatch: pytest.MonkeyPatch) -> None:
    def serve(server: socket.socket) -> None:
        caller, _ = server.accept()
        caller.recv(65536)
        caller.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1104\r\n\r\n{")
        caller.close()

    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{server.getsockname()[1]}")
        threading.Thread(target=serve, args=(server,), daemon=True).start()
        error = raised(mlflow.MlflowClient().get_run, "some-run")
    assert isinstance(explain(error), OutageError)
    assert "Connection broken" in str(explain(error))


def test_errors_that_were_raised_from_one_another_in_a_circle_end() -> None:
    one, other = ValueError("one"), ValueError("other")
    one.__cause__, other.__cause__ = other, one
    assert explain(one) is None


def test_a_store_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_bytes(b"no database at all" * 1000)
    error = raised(lambda: sqlite3.connect(tmp_path / "mlflow.db").execute("select * from runs"))
    assert "mlflow.db cannot be used (file is not a database)" in str(explain(error))


def test_a_database_whose_making_failed_is_made_from_the_start(recipe: Recipe, tmp_path: Path) -> None:
    with no_file_larger_than(300_000):
        for function, argument in ((open_step, recipe), (tracking.find_pipeline_run, "7"), (registry.list_versions, "")):
            assert "mlflow.db cannot be used (disk I/O error)" in str(explain(raised(function, argument)))
    assert not (tmp_path / "mlflow.db").exists()
    open_step(recipe)
    assert [path.name for path in tmp_path.glob("mlflow.db*")] == ["mlflow.db"]


def test_a_database_that_something_else_left_half_made_is_named(recipe: Recipe, tmp_path: Path) -> None:
    with contextlib.closing(sqlite3.connect(tmp_path / "mlflow.db")) as database:
        database.execute("create table spans (trace_id text)")
    assert "mlflow.db is half made (table spans already exists)" in str(explain(raised(open_step, recipe)))


def test_a_server_that_is_away_ends_the_step_with_one_sentence_and_is_not_waited_for_twice(
    recipe: Recipe, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], deserted_address: str
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")

    def lose_server() -> None:
        with tracking.step_run("fuse", recipe, ""):
            monkeypatch.setenv("MLFLOW_TRACKING_URI", deserted_address)
            mlflow.log_metric("loss", 1.0)

    with pytest.raises(SystemExit, match="2"):
        attempt(lose_server)
    assert os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] == "0"
    assert capsys.readouterr().out.count(f"error: the MLflow server at {deserted_address} was away") == 1


def test_why_a_step_failed_stands_on_its_run(recipe: Recipe) -> None:
    with pytest.raises(PawflowError), tracking.step_run("fuse", recipe, ""):
        raise OSError(errno.ENOSPC, "No space left on device", "shard")
    (run,) = mlflow.search_runs(search_all_experiments=True, output_format="list")
    assert run.info.status == "FAILED"
    assert "the disk is full" in run.data.tags["pawflow.failed"]
    assert run.data.tags["mlflow.note.content"].startswith("failed: ")
