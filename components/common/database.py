"""The database that MLflow keeps on this machine where there is no tracking server, and the runs of the machine that share it.

In: `MLFLOW_TRACKING_URI`. Out: a sqlite database with all of MLflow's tables, or none. MLflow makes it in dozens of statements, each of
which counts at once, and cannot go on with one that it was killed over, or that a full disk kept it from finishing.
"""

from __future__ import annotations

import os
import uuid
from pathlib import Path

from filelock import FileLock

from components.common.store import home

_SQLITE = "sqlite:///"


def machine_lock() -> FileLock:
    """A lock between the runs on this machine, for what MLflow cannot do atomically."""
    home().mkdir(parents=True, exist_ok=True)
    return FileLock(home() / "mlflow.lock")


def make_database() -> None:
    """Make the database under another name, unless there is one, or a server has it."""
    import mlflow

    address = os.environ["MLFLOW_TRACKING_URI"]
    database = Path(address.removeprefix(_SQLITE).partition("?")[0])
    if not address.startswith(_SQLITE) or database.exists():
        return
    # Two first runs at once would both make it.
    with machine_lock():
        if not database.exists():
            for leftover in database.parent.glob(f"{database.name}.*.partial*"):
                leftover.unlink()
            partial = database.with_name(f"{database.name}.{uuid.uuid4().hex[:8]}.partial")
            mlflow.MlflowClient(f"{_SQLITE}{partial}").search_experiments(max_results=1)
            partial.rename(database)
