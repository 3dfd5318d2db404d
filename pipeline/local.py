"""Run the pipeline on this machine, through Kubeflow's local runners: a process for each task, or a container."""

from __future__ import annotations

import contextlib
import functools
import os
import shlex
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import psutil
from rich.console import Console as Terminal

from components.common import tracking_store
from components.common.cli import quiet_libraries
from components.common.errors import PawflowError
from components.common.recipe import Recipe
from components.common.store import home
from pipeline.console import Console, shown
from pipeline.versions import require_kfp

#: In the folder of a run: what was typed.
COMMAND_FILE = "command.txt"
#: After being told to stop, and before being killed.
_SECONDS_TO_SAVE = 10


@dataclass(frozen=True)
class LocalRun:
    """A finished run.

    Attributes:
        folder: Holds every artifact that its tasks produced, and `pipeline.log`.
        seconds: How long it took.
    """

    folder: Path
    seconds: float


def run_locally(recipe: Recipe, terminal: Terminal, *, containers: bool = False, quiet: bool = False) -> LocalRun:
    """Run the pipeline, each task in a process of its own, or in a container of its own; `quiet` shows errors only.

    Raises:
        PawflowError: A task failed; its own message has been shown by then. Or there is no engine for containers, or an image is missing.
    """
    _prepare()
    from kfp import local

    from pipeline.training import define_training

    folder = home() / "runs" / f"{time.strftime('%Y%m%d-%H%M%S')}-{recipe.name}-{os.getpid()}"
    folder.mkdir(parents=True)
    (folder / COMMAND_FILE).write_text(_own_command())
    log = folder / "pipeline.log"
    stop_tasks: Callable[[], None] = _stop_processes
    if containers:
        from pipeline.containers import make_runner, stop_containers

        runner = make_runner(recipe, folder)
        stop_tasks = functools.partial(stop_containers, folder.name)
    else:
        runner = local.SubprocessRunner(use_venv=False)
    started = time.monotonic()
    with (
        _temporary_folder() as temporary,
        _stopped_by_signals(lambda number: _stop(number, terminal, stop_tasks, temporary)),
        shown(terminal, log, only_errors=quiet) as console,
    ):
        local.init(runner, pipeline_root=str(folder), workspace_root=tempfile.mkdtemp(dir=temporary))
        try:
            define_training(recipe.parallelism or None)(
                recipe=recipe.model_dump_json(),
                sources=[source.name for source in recipe.sources.archives],
                candidates=[candidate.name for candidate in recipe.candidates],
            )
        except RuntimeError as error:
            raise PawflowError(f"the run did not finish: {_explain(console)}. Log: {log}") from error
    return LocalRun(folder, time.monotonic() - started)


def _explain(console: Console) -> str:
    """Why a run did not finish, and whether it helps to type the same command again."""
    if console.num_errors:
        return "see the error above. Everything finished so far is kept, so that a run without that error continues from there"
    if console.num_killed:
        told = "a step was killed, as the system does when memory runs out; more of it, a smaller batch_size or network help then"
        return f"{told}. Everything finished so far is kept; the same command continues from there"
    return "a step failed in a way that it did not expect; the log says how. Everything finished so far is kept"


@contextlib.contextmanager
def _temporary_folder() -> Iterator[str]:
    """One for all tasks, named by TMPDIR: the runner leaves a temporary folder of every task, and a killed task leaves its own."""
    before = os.environ.get("TMPDIR")
    with tempfile.TemporaryDirectory(prefix="pawflow-", ignore_cleanup_errors=True) as folder:
        os.environ["TMPDIR"] = folder
        try:
            yield folder
        finally:
            del os.environ["TMPDIR"]
            if before is not None:
                os.environ["TMPDIR"] = before


@contextlib.contextmanager
def _stopped_by_signals(stop: Callable[[int], NoReturn]) -> Iterator[None]:
    """Ctrl-C and SIGTERM call `stop` while the body runs."""
    before = {number: signal.signal(number, lambda number, frame: stop(number)) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _prepare() -> None:
    """Check what the tasks will need, and make this process's environment what they are to inherit."""
    require_kfp()
    quiet_libraries()
    tracking_store.configure()
    tracking_store.require_server()
    # `mlflow run` starts a run of its own; the tasks belong to the pipeline's.
    for name in ("MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID", "MLFLOW_EXPERIMENT_NAME"):
        os.environ.pop(name, None)
    os.environ["PAWFLOW_OWNER"] = f"{socket.gethostname()}:{os.getpid()}"
    # Of glibc's memory pools, by default eight for each core, half-empty ones would remain with every task: half a gigabyte in training.
    os.environ.setdefault("MALLOC_ARENA_MAX", "2")
    warnings.filterwarnings("ignore", module="kfp")


def _stop(number: int, terminal: Terminal, stop_tasks: Callable[[], None], temporary: str) -> NoReturn:
    """End the run and its tasks at once.

    An exception would not: the local runner waits for tasks that run, and starts those that were queued behind them.
    """
    _launch_nothing_more()
    stop_tasks()
    shutil.rmtree(temporary, ignore_errors=True)
    told = f"stopped. Everything finished so far is kept; to continue: {_own_command()}"
    terminal.print(told, soft_wrap=True, markup=False, highlight=False)
    os._exit(128 + number)


def _own_command() -> str:
    return shlex.join([".venv/bin/python", "-m", "pipeline", *sys.argv[1:]])


def _launch_nothing_more() -> None:
    """Keep the runner's threads from what is queued: each starts the next task as soon as one ends, and so also when it is stopped."""
    from kfp.local import docker_task_handler, subprocess_task_handler

    end = threading.Event()
    subprocess_task_handler.run_local_subprocess = docker_task_handler.run_docker_container = lambda *_, **__: end.wait()


def _stop_processes() -> None:
    """Stop this process's children; a training gets some seconds to write down where it is."""
    for send in (psutil.Process.terminate, psutil.Process.kill):
        tasks = psutil.Process().children(recursive=True)
        for task in tasks:
            with contextlib.suppress(psutil.NoSuchProcess):
                send(task)
        psutil.wait_procs(tasks, timeout=_SECONDS_TO_SAVE)
