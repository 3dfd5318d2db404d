"""The commands that start a server, `serve`, `web`, `ui`, `tensorboard`: each becomes that server, or what holds it."""

from __future__ import annotations

import errno
import os
import socket
import sys
from pathlib import Path
from typing import Annotated

import typer

from components.common import leash
from components.common.errors import PawflowError

commands = typer.Typer()

#: Variables of make.
_PORTS = "UI_PORT, SERVE_PORT, WEB_PORT, TENSORBOARD_PORT"

Port = Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 is any free one.")]
ListenOn = Annotated[str, typer.Option("--host", help="Address to listen on.")]
ModelName = Annotated[str, typer.Option("--model", help="Registered model; by default the one whose champion is newest.")]


@commands.command()
def serve(model: ModelName = "", port: Port = 5001, host: ListenOn = "127.0.0.1") -> None:
    """Serve a champion with `mlflow models serve`.

    Example: python -m pipeline serve --model dogs-vs-cats --port 5001
    """
    from components.common import registry
    from components.register.endpoint import serving_command, serving_environment

    port = _choose_port(host, port)
    uri = f"models:/{_choose_champion(model)}@{registry.CHAMPION}"
    typer.echo(f"serving {uri}: POST http://{host}:{port}/invocations (Ctrl-C ends it)")
    leash.hold(serving_command(uri, host, port), serving_environment())


@commands.command()
def web(model: ModelName = "", port: Port = 5002, host: ListenOn = "127.0.0.1") -> None:
    """Serve a champion with the gateway: a web page for photos, and an API. `python -m serving.gateway --help` lists more settings.

    Example: python -m pipeline web --model dogs-vs-cats --port 5002
    """
    from components.common import registry
    from components.common.store import home

    port = _choose_port(host, port)
    chosen = _choose_champion(model)
    typer.echo(f"models:/{chosen}@{registry.CHAMPION} is at http://{host}:{port} (Ctrl-C ends it)")
    gateway = ["-m", "serving.gateway", "--model", chosen, "--host", host, "--port", str(port), "--flagged", str(home() / "flagged")]
    os.execv(sys.executable, [sys.executable, *gateway])


@commands.command()
def ui(port: Port = 5000, host: ListenOn = "127.0.0.1") -> None:
    """Open the MLflow UI over the runs of this folder, or of the store that MLFLOW_TRACKING_URI names.

    Example: python -m pipeline ui --port 5000
    """
    from components.common import tracking_store
    from components.register.endpoint import serving_environment

    tracking_store.configure()
    store = os.environ["MLFLOW_TRACKING_URI"]
    if store.startswith("http"):
        typer.echo(f"MLFLOW_TRACKING_URI is a server: open {store}")
        return
    port = _choose_port(host, port)
    command = [
        "mlflow",
        "server",
        "--backend-store-uri",
        store,
        "--no-serve-artifacts",
        "--default-artifact-root",
        str(Path("mlruns").absolute()),
        # One person looks, and each of the four that MLflow would start takes 0.2 GB.
        "--workers",
        "1",
    ]
    environment = {
        # Seven processes for what only language models need.
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        # MLflow imports it in each of its workers, and nobody but MLflow can change that.
        "PYTHONWARNINGS": "ignore:starlette.middleware.wsgi is deprecated",
        **serving_environment(),
    }
    leash.hold([*command, "--host", host, "--port", str(port)], environment)


@commands.command()
def tensorboard(
    run: Annotated[str, typer.Argument(help="Id of a pipeline run in MLflow; by default the newest.")] = "",
    port: Port = 6006,
    host: ListenOn = "127.0.0.1",
) -> None:
    """Show the training curves of all candidates of a pipeline run in TensorBoard.

    Example: python -m pipeline tensorboard
    """
    from components.common import tracking_store
    from pipeline.curves import fetch_curves

    port = _choose_port(host, port)
    tracking_store.require_server()
    name, folder = fetch_curves(run)
    typer.echo(f"the curves of {name} are at http://{host}:{port} (Ctrl-C ends it)")
    board = ["-m", "tensorboard.main", "--logdir", str(folder), "--host", host, "--port", str(port)]
    os.execv(sys.executable, [sys.executable, *board])


def _choose_champion(model: str) -> str:
    """The registered model to serve: the one that is named, or the newest; the registry answers."""
    from components.common import registry, tracking_store

    tracking_store.require_server()
    chosen = model or registry.newest_champion()
    registry.require_champion(chosen)
    return chosen


def _choose_port(host: str, port: int) -> int:
    """The port to listen on, which is free: servers refuse one that is taken late and in their own words, and MLflow takes 0 for 8000."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        # As servers do, so that the remains of earlier connections are no hindrance.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            return int(probe.getsockname()[1])
        except OSError as error:
            taken = "is taken; stop who listens there" if error.errno == errno.EADDRINUSE else f"cannot be listened on ({error.strerror})"
            raise PawflowError(f"port {port} of {host} {taken}, or choose another with --port (of make: {_PORTS})") from error
