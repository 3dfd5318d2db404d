"""The command line of the team server as processes: `python -m infra.stack up|backup|restore`."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Annotated

import typer

from components.common import leash
from components.common.errors import PawflowError
from infra.stack import credentials, prepare
from infra.stack.services import DATABASE, PARTS, Service, Stack, create_database, forget_killed_database, is_free, run_database_program

app = typer.Typer(help=__doc__, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)

Folder = Annotated[Path, typer.Option(help="Holds all data, logs and credentials of the server.")]
FirstPort = Annotated[
    int,
    # With the highest, the last part's port plus 10,000 is 65,535.
    typer.Option(min=1, max=55_536 - len(PARTS), help="MLflow's port; seven more follow, and SeaweedFS uses its own plus 10,000."),
]
Model = Annotated[str, typer.Option(help="Registered model to serve.")]

_FOLDER, _PORT = Path(".stack"), 5000
_PATIENCE, _SECONDS_TO_STOP, _LOOK_EVERY = 180.0, 30.0, 5.0


class Running:
    """Services that are kept running: one that ends is started again, at most every five seconds."""

    def __init__(self, stack: Stack, stopping: threading.Event) -> None:
        self._stopping = stopping
        self._logs = stack.folder / "logs"
        self._logs.mkdir(parents=True, exist_ok=True)
        self._services: dict[str, tuple[Service, subprocess.Popen[bytes]]] = {}

    def start(self, service: Service) -> None:
        """Start a service and wait until it is ready.

        Raises:
            PawflowError: It ends, or is not ready in three minutes, or everything is to stop.
        """
        process = self._spawn(service)
        deadline = time.monotonic() + _PATIENCE
        while not service.ready():
            if process.poll() is not None or time.monotonic() > deadline:
                raise PawflowError(f"{service.name} does not come up; the end of {self._log(service)}:\n{self._tail(service)}")
            if self._stopping.wait(0.2):
                raise PawflowError(f"stopped while {service.name} was coming up")
        print(f"{service.name} is up", flush=True)

    def restart_what_ended(self) -> None:
        """Look once."""
        for service, process in list(self._services.values()):
            if process.poll() is not None:
                print(f"{service.name} ended with {process.returncode}; starting it again", flush=True)
                self._spawn(service)

    def stop(self, name: str = "") -> None:
        """Stop one service, or all, the last first; Postgres writes everything down before it ends."""
        for service, process in [self._services.pop(key) for key in reversed(list(self._services)) if name in ("", key)]:
            # To Postgres it means: end the sessions, then stop; to the others: stop.
            asked = signal.SIGINT if service.name == "postgres" else signal.SIGTERM
            for number in (asked, signal.SIGKILL):
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, number)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(_SECONDS_TO_STOP)
                    break

    def _spawn(self, service: Service) -> subprocess.Popen[bytes]:
        with self._log(service).open("ab") as log:
            # In a session of its own, because Ctrl-C is for this process, which stops them in order; and ending with this process if it is
            # killed, because the next one finds their ports taken otherwise.
            process = leash.start(
                service.command, user=service.user, env=service.environment, stdout=log, stderr=log, cwd="/" if service.user else None
            )
        self._services[service.name] = (service, process)
        return process

    def _log(self, service: Service) -> Path:
        return self._logs / f"{service.name}.log"

    def _tail(self, service: Service) -> str:
        return self._log(service).read_text(errors="replace")[-2000:]


def _open(folder: Path, first_port: int, model: str) -> Stack:
    folder = folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    # Its parts and this process ask each other directly, whatever proxy the environment names for the world outside.
    spared = ",".join(filter(None, (os.environ.get("no_proxy") or os.environ.get("NO_PROXY"), "127.0.0.1")))
    os.environ |= {"no_proxy": spared, "NO_PROXY": spared}
    return Stack(folder, credentials.ensure(folder / "credentials.env"), first_port, model)


@app.command()
def up(folder: Folder = _FOLDER, first_port: FirstPort = _PORT, model: Model = "dogs-vs-cats") -> None:
    """Start everything and keep it running until Ctrl-C; what was stored is there again at the next start."""
    stack = _open(folder, first_port, model)
    taken = [f"{stack.port(part)} ({part})" for part in PARTS if not is_free(stack.port(part))]
    if taken:
        raise PawflowError(f"somebody listens on port {', '.join(taken)}; stop them, or choose others with --first-port")
    stopping = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopping.set())
    running = Running(stack, stopping)
    create_database(stack)
    forget_killed_database(stack)
    try:
        running.start(stack.postgres())
        _create_empty_database(stack)
        running.start(stack.store())
        os.environ |= stack.store_settings()
        prepare.create_bucket(os.environ["BUCKET"])
        running.start(stack.mlflow())
        prepare.create_reader(stack.address("mlflow"), stack.administrator(), stack.credentials["MLFLOW_READER_PASSWORD"])
        running.start(stack.gateway())
        _tell(stack)
        served = None
        while not stopping.is_set():
            champion = stack.find_champion()
            if champion not in (None, served):
                running.stop("endpoint")
                try:
                    running.start(stack.endpoint())
                except PawflowError as error:
                    # The others go on, so that what it lacks can be restored into them; it is tried again at the next look.
                    running.stop("endpoint")
                    print(error, flush=True)
                else:
                    print(f"the endpoint serves {model} version {champion}", flush=True)
                    served = champion
            running.restart_what_ended()
            stopping.wait(_LOOK_EVERY)
    finally:
        running.stop()
        print("stopped", flush=True)


def _create_empty_database(stack: Stack) -> None:
    try:
        run_database_program(stack, "createdb", DATABASE)
    except PawflowError as error:
        if "already exists" not in str(error):
            raise


def _tell(stack: Stack) -> None:
    settings = stack.client_settings(*stack.administrator())
    client = stack.folder / "client.env"
    client.touch(mode=0o600)
    client.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
    print(f"MLflow        {stack.address('mlflow')}   user admin, password in {stack.folder / 'credentials.env'}")
    print(f"web page      {stack.address('gateway')}   its key is PAWFLOW_API_KEY in the same file")
    print(f"endpoint      {stack.address('endpoint')}   as soon as {stack.model} has a champion")
    print(f"run into it   set -a; . {client}; set +a; python -m pipeline run --recipe sample", flush=True)


@app.command()
def backup(target: Annotated[Path, typer.Argument(help="New folder.")], folder: Folder = _FOLDER, first_port: FirstPort = _PORT) -> None:
    """Copy the database and the artifacts of a running server into a folder; the credentials are not among them."""
    stack = _open(folder, first_port, "")
    if target.exists():
        raise PawflowError(f"{target} exists; pass a new folder")
    # Under another name until it is whole, so that after a failure the same command does it again.
    unfinished = target.with_name(f".{target.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True, mode=0o700)
    # The database first: what it speaks of is in the store already, and stays there.
    run_database_program(stack, "pg_dump", "--format=custom", f"--file={unfinished / 'mlflow.dump'}", DATABASE)
    os.environ |= stack.store_settings()
    num_objects = prepare.save(os.environ["BUCKET"], unfinished / "artifacts")
    unfinished.rename(target)
    print(f"saved the database and {num_objects} objects to {target}")


@app.command()
def restore(
    source: Annotated[Path, typer.Argument(help="Folder of a backup.")], folder: Folder = _FOLDER, first_port: FirstPort = _PORT
) -> None:
    """Put a backup into a running server, in the place of what it has; restart it afterwards."""
    stack = _open(folder, first_port, "")
    if not (source / "mlflow.dump").is_file():
        raise PawflowError(f"{source} holds no mlflow.dump; expected the folder of a backup")
    run_database_program(
        stack, "pg_restore", "--clean", "--if-exists", "--single-transaction", f"--dbname={DATABASE}", str(source / "mlflow.dump")
    )
    os.environ |= stack.store_settings()
    print(f"restored the database and {prepare.restore(os.environ['BUCKET'], source / 'artifacts')} objects")


if __name__ == "__main__":
    try:
        app(prog_name="python -m infra.stack")
    except PawflowError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
