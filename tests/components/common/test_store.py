from __future__ import annotations

import importlib.metadata
import multiprocessing
import os
import time
from pathlib import Path

import pytest
from filelock import FileLock

from components.common import store
from components.common.errors import PawflowError
from components.common.store import Record, artifact_digest, deliver, produce, read_record


def write(folder: Path) -> Record:
    (folder / "part").mkdir()
    (folder / "part" / "numbers.txt").write_text("1 2 3")
    return Record(metrics={"numbers": 3.0})


def refuse(folder: Path) -> Record:
    raise AssertionError("the work must not be done again")


def test_equal_inputs_are_worked_on_once() -> None:
    entry, reused = produce("fuse", {"a": 1}, write)
    assert not reused
    assert produce("fuse", {"a": 1}, refuse) == (entry, True)
    assert produce("fuse", {"a": 2}, write)[0] != entry
    assert read_record(entry).metrics == {"numbers": 3.0}


def test_changed_code_is_not_served_old_results(monkeypatch: pytest.MonkeyPatch) -> None:
    entry, _ = produce("fuse", {}, write)
    monkeypatch.setattr(store, "code_digest", lambda *packages: "other code")
    assert produce("fuse", {}, write)[0] != entry


@pytest.mark.parametrize("name", ["numpy", "opencv", "tensorflow", "onnxruntime"])
def test_a_changed_library_is_not_served_old_results(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the distribution is called that brings it here: `tensorflow-cpu`, say."""
    entry, installed = store.entry_key("fuse", {}), importlib.metadata.version
    monkeypatch.setattr(importlib.metadata, "version", lambda other: installed(other) + "+new" * other.startswith(name))
    assert store.entry_key("fuse", {}) != entry


def test_a_failure_leaves_nothing_behind() -> None:
    def fail(folder: Path) -> Record:
        write(folder)
        raise OSError("no space left on device")

    with pytest.raises(OSError, match="no space"):
        produce("fuse", {}, fail)
    assert [path.suffix for path in (store.home() / "cache" / "fuse").iterdir()] == [".lock"]


def test_a_damaged_entry_is_made_again(capsys: pytest.CaptureFixture[str]) -> None:
    entry, _ = produce("fuse", {}, write)
    (entry / "part" / "numbers.txt").write_text("1 2 4")
    again, reused = produce("fuse", {}, write)
    assert (again, reused) == (entry, False)
    assert "damaged" in capsys.readouterr().out
    index = (entry / "artifact.json").read_text()
    # The last: what the step reported, which is figures that go to MLflow.
    for damage in ("{", "[]", index.replace("files", "fules"), index.replace("3.0", "8.0")):
        (entry / "artifact.json").write_text(damage)
        assert not produce("fuse", {}, write)[1], damage
    assert produce("fuse", {}, refuse)[1]


def _die_while_working(home: str) -> None:
    os.environ["PAWFLOW_HOME"] = home

    def work(folder: Path) -> Record:
        write(folder)
        os.kill(os.getpid(), 9)
        return Record()

    produce("fuse", {}, work)


def test_a_killed_process_leaves_nothing_that_counts() -> None:
    process = multiprocessing.get_context("fork").Process(target=_die_while_working, args=(str(store.home()),))
    process.start()
    process.join()
    assert process.exitcode == -9
    entry, reused = produce("fuse", {}, write)
    assert not reused
    assert {path.name for path in entry.parent.iterdir()} == {entry.name, f"{entry.name}.lock"}


def test_what_other_killed_runs_left_goes_and_what_living_ones_make_stays() -> None:
    shelf = store.home() / "cache" / "fuse"
    for name in ("dead", "alive"):
        (shelf / f"{name}.0123.partial" / "part").mkdir(parents=True)
    with FileLock(shelf / "alive.lock"):
        produce("fuse", {}, write)
        assert [path.name for path in shelf.glob("*.partial")] == ["alive.0123.partial"]
    produce("fuse", {}, refuse)
    assert not list(shelf.glob("*.partial"))


def _produce_slowly(home: str, results: multiprocessing.Queue[bool]) -> None:
    os.environ["PAWFLOW_HOME"] = home

    def work(folder: Path) -> Record:
        time.sleep(0.5)
        return write(folder)

    results.put(produce("fuse", {}, work)[1])


def test_two_processes_do_the_work_once() -> None:
    context = multiprocessing.get_context("fork")
    results: multiprocessing.Queue[bool] = context.Queue()
    processes = [context.Process(target=_produce_slowly, args=(str(store.home()), results)) for _ in range(2)]
    for process in processes:
        process.start()
    assert sorted(results.get(timeout=30) for _ in processes) == [False, True]
    for process in processes:
        process.join()


def test_a_delivery_that_was_killed_is_no_artifact_and_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def write_several(folder: Path) -> Record:
        for name in ("a.txt", "b.txt", "c.txt"):
            (folder / name).write_text(name)
        return Record()

    entry, _ = produce("fuse", {}, write_several)
    link = store.link_or_copy
    for num_files in range(4):
        copied: list[str] = []

        def die(source: str, destination: str, copied: list[str] = copied, num_files: int = num_files) -> None:
            if len(copied) == num_files:
                raise KeyboardInterrupt
            copied.append(destination)
            link(source, destination)

        with monkeypatch.context() as killed:
            killed.setattr(store, "link_or_copy", die)
            with pytest.raises(KeyboardInterrupt):
                deliver(entry, tmp_path / "out")
        with pytest.raises(PawflowError, match="not the output of a step"):
            artifact_digest(tmp_path / "out")
    deliver(entry, tmp_path / "out")
    assert artifact_digest(tmp_path / "out") == artifact_digest(entry)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {path.name for path in entry.iterdir()}


def test_delivery_replaces_an_artifact_and_nothing_else(tmp_path: Path) -> None:
    entry, _ = produce("fuse", {}, write)
    out = tmp_path / "out"
    deliver(entry, out)
    deliver(entry, out)
    assert artifact_digest(out) == artifact_digest(entry)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "diary.txt").write_text("private")
    with pytest.raises(PawflowError, match="holds other files"):
        deliver(entry, tmp_path / "mine")
    with pytest.raises(PawflowError, match="not the output of a step"):
        artifact_digest(tmp_path / "mine")
