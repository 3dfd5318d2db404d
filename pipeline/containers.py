"""The tasks of a local run in containers, through Kubeflow's Docker runner.

In: a recipe and a run's folder. Out: a runner whose containers see the run's folder, the cache, the MLflow store and the recipe's own
files under the same paths as this process, and as the same user; and a way to stop them.
"""

from __future__ import annotations

import codecs
import getpass
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import docker
from docker.errors import DockerException
from docker.types import Mount

from components.common.errors import PawflowError
from components.common.kubeflow import IMAGES
from components.common.recipe import Recipe
from components.common.store import home

#: On every container of a run: the name of the run's folder.
LABEL = "pawflow.run"
#: Settings that tasks read from the environment, by the start of their names.
_PASSED = ("AWS_", "KAGGLE_", "MLFLOW_", "PAWFLOW_", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "MALLOC_ARENA_MAX")
_FOLDERS = ("PAWFLOW_WEIGHTS", "PAWFLOW_CHECKPOINTS")
_SQLITE = "sqlite:///"
#: What a request about a container that has ended may raise.
_GONE = (DockerException, OSError)


@contextmanager
def engine() -> Iterator[docker.DockerClient]:
    """The container engine at `DOCKER_HOST`, or where it usually is.

    Raises:
        PawflowError: None answers.
    """
    try:
        client = docker.from_env()
        client.ping()
    except DockerException as error:
        raise PawflowError(
            f"no container engine answers ({error}); start Docker, or set DOCKER_HOST to its address, or run without --runner docker"
        ) from error
    try:
        yield client
    finally:
        client.close()


def require_engine() -> str:
    """Describe the engine.

    Raises:
        PawflowError: None answers, or it lacks an image.
    """
    with engine() as client:
        version = client.version()["Version"]
        present = {tag for image in client.images.list() for tag in image.tags}
    missing = sorted(set(IMAGES.values()) - present)
    if missing:
        raise PawflowError(f"the container engine has no image {' and no image '.join(missing)}; build them with `make images`")
    return f"Docker {version}, with the images of all steps"


def make_runner(recipe: Recipe, folder: Path) -> Any:
    """Kubeflow's Docker runner for one run.

    Args:
        recipe: The folders and files that it names are readable inside.
        folder: The run's.

    Raises:
        PawflowError: No engine answers, or it lacks an image.
    """
    from kfp import local
    from kfp.local import docker_task_handler

    require_engine()
    docker_task_handler.run_docker_container = run_container
    return local.DockerRunner(
        environment=_environment(),
        labels={LABEL: folder.name},
        mounts=[Mount(str(path), str(path), type="bind", read_only=not writable) for path, writable in shared_paths(recipe).items()],
        working_dir=os.getcwd(),
        user=f"{os.getuid()}:{os.getgid()}",
        # A server on this machine has the same address inside, and so has the process that drives the run.
        network_mode=os.environ.get("PAWFLOW_DOCKER_NETWORK", "host"),
        pid_mode="host",
        read_only=True,
        tmpfs={"/tmp": "mode=1777"},  # noqa: S108 (inside the container)
        cap_drop=["ALL"],
        security_opt=["no-new-privileges"],
        shm_size="1g",
        init=True,
    )


def shared_paths(recipe: Recipe) -> dict[Path, bool]:
    """Folders and files that tasks reach outside the run's folder, and whether they may write there; none lies in another."""
    store = os.environ.get("MLFLOW_TRACKING_URI", "")
    writable = [Path.cwd(), home(), *([Path(store.removeprefix(_SQLITE)).absolute().parent] if store.startswith(_SQLITE) else [])]
    settings = [os.environ[name] for name in _FOLDERS if os.environ.get(name) and "://" not in os.environ[name]]
    read = [path.absolute() for path in (*_paths(recipe.model_dump()), *map(Path, settings)) if path.exists()]
    shared: dict[Path, bool] = {}
    for path in [*sorted(writable), *sorted(read)]:
        if not any(path.is_relative_to(outer) for outer in shared):
            shared[path] = path in writable
    return shared


def stop_containers(run: str) -> None:
    """Stop the containers of a run, all at once; a training gets some seconds to write down where it is."""
    with engine() as client:
        for signal, seconds in (("SIGTERM", 10), ("SIGKILL", 5)):
            # Asked for again, because the runner starts what was queued behind a task that ends.
            running = client.containers.list(filters={"label": f"{LABEL}={run}"})
            for container in running:
                with suppress(*_GONE):
                    container.kill(signal)
            for container in running:
                with suppress(*_GONE):
                    container.wait(timeout=seconds)
        for container in client.containers.list(all=True, filters={"label": f"{LABEL}={run}"}):
            with suppress(*_GONE):
                container.remove(force=True)


def _environment() -> dict[str, str]:
    passed = {name: value for name, value in os.environ.items() if name.upper().startswith(_PASSED)}
    # The user has no name in the container, and whatever it may write beside its outputs is gone afterwards.
    return {**passed, "PAWFLOW_HOME": str(home()), "USER": getpass.getuser(), "HOME": "/tmp"}  # noqa: S108


def _paths(value: object) -> Iterator[Path]:
    if isinstance(value, Path):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _paths(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _paths(item)


def run_container(client: docker.DockerClient, image: str, command: list[str], volumes: dict[str, Any], **options: Any) -> int:
    """Run a task and return its exit code.

    In the place of Kubeflow's own, which has the engine remove a container when it ends, may then find nothing to ask for the exit code,
    and takes that for success.
    """
    container = client.containers.run(image=image, command=command, volumes=volumes, detach=True, **options)
    try:
        for text in codecs.iterdecode(container.logs(stream=True), "utf-8", errors="replace"):
            print(text, end="")
        return int(container.wait()["StatusCode"])
    finally:
        with suppress(*_GONE):
            container.remove(force=True)
