"""Registers small models as the pipeline does, for tests of what serves them."""

from __future__ import annotations

from pathlib import Path

import mlflow

from components.common import registry
from components.register.packaging import log_model


def register(folder: Path, model: str, example: bytes) -> str:
    """Make a model folder a version of `model` in the registry of the test; return its number."""
    with mlflow.start_run():
        return registry.create_version(log_model(folder, example, {}).uri, model, "float32")
