from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from components.common import leash
from tests.processes import ROOT, wait_until

Hold = Callable[..., tuple[subprocess.Popen[bytes], int]]

#: Starts a child that does not care about SIGTERM, and does not care itself.
STUBBORN = """
import signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
ignore = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(600)"
child = subprocess.Popen([sys.executable, "-c", ignore], stdout=subprocess.PIPE)
child.stdout.readline()
print(child.pid, flush=True)
time.sleep(600)
"""
STARTER = """
import sys, time
from components.common import leash
leash.start([sys.executable, "-c", sys.argv[1]])
time.sleep(600)
"""
HOLDER = """
import os, sys
from components.common import leash
leash.hold([sys.executable, "-c", *sys.argv[1:]], dict(os.environ))
"""


def is_alive(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def test_a_command_keeps_its_output_and_its_exit_code(tmp_path: Path) -> None:
    with (tmp_path / "log").open("wb") as log:
        process = leash.start([sys.executable, "-c", "print('here'); raise SystemExit(3)"], stdout=log)
    assert process.wait(30) == 3
    assert (tmp_path / "log").read_text() == "here\n"


def test_a_signal_for_the_group_reaches_the_command() -> None:
    process = leash.start([sys.executable, "-c", "import time; print('up', flush=True); time.sleep(600)"], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"up\n"
    os.killpg(process.pid, signal.SIGTERM)
    assert process.wait(30) != 0


@pytest.mark.parametrize("command", [STUBBORN, STUBBORN.replace("signal.signal(signal.SIGTERM, signal.SIG_IGN)\nignore", "ignore")])
def test_descendants_end_when_the_starter_is_killed(command: str) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    starter = subprocess.Popen([sys.executable, "-c", STARTER, command], stdout=subprocess.PIPE, env=environment)
    assert starter.stdout is not None
    try:
        grandchild = int(starter.stdout.readline())
        family = psutil.Process(starter.pid).children(recursive=True)
        assert grandchild in {process.pid for process in family}
    finally:
        starter.kill()
        starter.wait()
    wait_until(lambda: not any(is_alive(process.pid) for process in family))


@pytest.fixture
def hold() -> Iterator[Hold]:
    """A function that holds a program which prints the number of a process once it is up; that process comes too."""
    environment, holders = {**os.environ, "PYTHONPATH": str(ROOT)}, []

    def start(*command: str) -> tuple[subprocess.Popen[bytes], int]:
        holder = subprocess.Popen([sys.executable, "-c", HOLDER, *command], stdout=subprocess.PIPE, env=environment, start_new_session=True)
        holders.append(holder)
        assert holder.stdout is not None
        return holder, int(holder.stdout.readline())

    yield start
    for holder in holders:
        # What it held is on a leash, and so ends too.
        holder.kill()
        holder.wait()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_held_command_is_told_by_sigterm_and_waited_for(number: int, hold: Hold) -> None:
    command = "import os, signal, sys, time; signal.signal(signal.SIGTERM, lambda *_: (time.sleep(1), sys.exit())); "
    holder, held = hold(command + "print(os.getpid(), flush=True); time.sleep(600)")
    # As a terminal does, to all that it started; nobody but the holder is among them.
    os.killpg(holder.pid, number)
    assert holder.wait(60) == 0
    assert not is_alive(held)


def test_a_second_signal_ends_what_the_first_did_not(hold: Hold) -> None:
    holder, child = hold(STUBBORN)
    os.killpg(holder.pid, signal.SIGINT)
    with pytest.raises(subprocess.TimeoutExpired):
        holder.wait(1)
    os.killpg(holder.pid, signal.SIGINT)
    assert holder.wait(60) == 0
    wait_until(lambda: not is_alive(child))


def test_a_held_command_that_ends_by_itself_says_how(hold: Hold) -> None:
    holder, _ = hold("import os; print(os.getpid(), flush=True); raise SystemExit(3)")
    assert holder.wait(60) == 3


def test_what_a_held_command_left_behind_is_told(hold: Hold, tmp_path: Path) -> None:
    told = tmp_path / "told"
    child = (
        "import pathlib, signal, sys, time; signal.signal(signal.SIGTERM, lambda *_: (pathlib.Path(sys.argv[1]).touch(), sys.exit())); "
        "print('up', flush=True); time.sleep(600)"
    )
    command = "import subprocess, sys; child = subprocess.Popen([sys.executable, '-c', *sys.argv[1:]], stdout=subprocess.PIPE); "
    holder, left = hold(command + "child.stdout.readline(); print(child.pid, flush=True); raise SystemExit(3)", child, str(told))
    assert holder.wait(60) == 3
    assert not is_alive(left)
    assert told.exists(), "it was not killed unasked"
