"""The MLflow model registry, as this project uses it: versions, and the aliases `champion`, `challenger` and `previous`."""

from __future__ import annotations

import importlib.metadata
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from components.common import tracking
from components.common.errors import PawflowError

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

CHAMPION, CHALLENGER, PREVIOUS = "champion", "challenger", "previous"

#: What a served model needs, at the versions it was tested with; TensorFlow is not among them.
_SERVING_REQUIREMENTS = ("mlflow", "numpy", "onnxruntime", "pandas", "pillow")
_MODEL = "model"
_TRAINED_ON = "trained_on.txt"


@dataclass(frozen=True)
class ServedModel:
    """A registered version, downloaded.

    Attributes:
        version: Its number.
        folder: Holds `model.onnx` and `model.json`; see `serving.predictor`.
        trained_on: SHA-256 of every image file that it was trained on or chosen by.
    """

    version: str
    folder: Path
    trained_on: frozenset[str]


def _client() -> MlflowClient:
    tracking.configure()
    from mlflow import MlflowClient

    return MlflowClient()


def find_version(model: str, alias: str) -> str | None:
    """Number of the version that has an alias, or None."""
    from mlflow.exceptions import MlflowException

    try:
        return str(_client().get_model_version_by_alias(model, alias).version)
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return None
        raise


def newest_champion() -> str:
    """Name of the registered model whose champion was made last; one of drawings, or of a smoke run, only where there is no other.

    Raises:
        PawflowError: There is no champion at all.
    """
    client = _client()
    champions = [
        client.get_model_version(model.name, model.aliases[CHAMPION])
        for model in client.search_registered_models()
        if CHAMPION in model.aliases
    ]
    if not champions:
        raise PawflowError("no model has a champion yet; train one with `make run` or `python -m pipeline run --recipe NAME`")

    def rank(version: ModelVersion) -> tuple[bool, bool, int]:
        return version.tags.get("generated") != "true", not version.name.endswith("-smoke"), version.creation_timestamp

    return str(max(champions, key=rank).name)


def require_champion(model: str) -> str:
    """Number of a model's champion.

    Raises:
        PawflowError: It has none.
    """
    version = find_version(model, CHAMPION)
    if version is None:
        known = ", ".join(item.name for item in _client().search_registered_models()) or "none"
        raise PawflowError(
            f"model {model!r} has no champion; registered models: {known}. Train one with `python -m pipeline run --recipe NAME`"
        )
    return version


def log_model(folder: Path, trained_on: frozenset[str], example: bytes, model: str, params: dict[str, str]) -> str:
    """Log a candidate as an MLflow model in the open run and make it a version of `model`.

    Args:
        folder: Holds `model.onnx` and `model.json`.
        trained_on: SHA-256 of the files it has seen.
        example: An encoded photo, kept with the model to show what it takes.
        model: Name of the registered model.
        params: Shown with the logged model.

    Returns:
        The new version's number.
    """
    tracking.configure()
    import mlflow
    import pandas as pd
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, Schema
    from mlflow.types.schema import Map

    from serving import predictor

    (folder / _TRAINED_ON).write_text("\n".join(sorted(trained_on)) + "\n")
    inputs = Schema([ColSpec(DataType.binary, "image")])
    outputs = Schema(
        [
            ColSpec(DataType.string, "label"),
            ColSpec(DataType.double, "probability"),
            ColSpec(Map(DataType.double), "probabilities"),
            ColSpec(DataType.boolean, "not_sure"),
            ColSpec(DataType.string, "model_version"),
            ColSpec(DataType.string, "dataset_digest"),
        ]
    )
    package = Path(predictor.__file__).parent
    info = mlflow.pyfunc.log_model(
        name=_MODEL,
        python_model=str(package / "model.py"),
        artifacts={_MODEL: str(folder)},
        code_paths=[str(package)],
        signature=ModelSignature(inputs=inputs, outputs=outputs),
        input_example=pd.DataFrame({"image": [example]}),
        pip_requirements=[f"{name}=={importlib.metadata.version(name)}" for name in _SERVING_REQUIREMENTS],
        registered_model_name=model,
        params=params,
    )
    return str(info.registered_model_version)


def describe_version(model: str, version: str, description: str, tags: dict[str, str]) -> None:
    """Write a version's description and tags, and point `challenger` at it."""
    client = _client()
    client.update_model_version(model, version, description=description)
    for name, value in tags.items():
        client.set_model_version_tag(model, version, name, value)
    client.set_registered_model_alias(model, CHALLENGER, version)


def download_version(model: str, version: str) -> ServedModel:
    """Fetch a version's files; local ones are read where they lie."""
    tracking.configure()
    import mlflow

    folder = Path(mlflow.artifacts.download_artifacts(f"models:/{model}/{version}")) / "artifacts"
    (inner,) = (path.parent for path in folder.rglob(_TRAINED_ON))
    return ServedModel(version, inner, frozenset((inner / _TRAINED_ON).read_text().split()))


def promote(model: str, version: str, expected_champion: str | None) -> None:
    """Make a version the champion; the champion so far becomes `previous`.

    Raises:
        PawflowError: Another run has changed the champion since the verdict was reached, so the verdict no longer speaks of it.
    """
    client = _client()
    with tracking.machine_lock():
        current = find_version(model, CHAMPION)
        if current != expected_champion:
            raise PawflowError(
                f"{model} version {version} was compared with champion {expected_champion or 'none'}, but the champion is now {current}; "
                "run the pipeline again to compare with that one"
            )
        if current is not None:
            client.set_registered_model_alias(model, PREVIOUS, current)
        client.set_registered_model_alias(model, CHAMPION, version)
        if find_version(model, CHALLENGER) == version:
            client.delete_registered_model_alias(model, CHALLENGER)


def get_version(model: str, version: str) -> ModelVersion:
    """The registry's entry of a version."""
    return _client().get_model_version(model, version)
