"""A folder in which the shipped commands are run one after another, as a person would."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import mlflow

from tests.processes import ROOT, command_environment

__all__ = ["ROOT", "Workspace"]


class Workspace:
    """A current folder with a cache and an MLflow store of its own.

    Attributes:
        folder: It.
        environment: Of the commands.
        model: Registered model that `alias` asks about.
    """

    def __init__(self, folder: Path, model: str) -> None:
        self.folder, self.model = folder, model
        self.environment = command_environment()

    def run(self, *arguments: str, timeout: float = 1500) -> subprocess.CompletedProcess[str]:
        """Run a Python module and wait for its end: longer than it takes on a machine that is busy with much else."""
        command = [sys.executable, "-m", *arguments]
        result = subprocess.run(
            command, cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=timeout, stdin=subprocess.DEVNULL
        )
        print(result.stdout, result.stderr)
        return result

    @property
    def client(self) -> mlflow.MlflowClient:
        """Of the store."""
        address = self.environment.get("MLFLOW_TRACKING_URI", f"sqlite:///{self.folder}/mlflow.db")
        return mlflow.MlflowClient(address, address)

    def alias(self, name: str) -> str | None:
        """Number of the version that has an alias."""
        version = self.client.get_registered_model(self.model).aliases.get(name)
        return None if version is None else str(version)
