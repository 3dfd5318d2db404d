"""A candidate as an MLflow model: the files that serving needs and no others, not yet a version of anything.

In: a candidate's folder and the network that is to serve. Out: a logged model, which the certificate is then made for and which becomes
a version only with it.
"""

from __future__ import annotations

import importlib.metadata
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema
from mlflow.types.schema import Array, Map

from components.common import tracking_store
from components.common.registry import TRAINED_ON
from serving import predictor
from serving.predictor import CARD_FILE, INT8_FILE, MODEL_FILE

#: What a served model needs, at the versions it was tested with; TensorFlow is not among them.
_REQUIREMENTS = ("mlflow", "numpy", "onnxruntime", "pandas", "pillow", "pyarrow")
_MODEL = "model"


@dataclass(frozen=True)
class LoggedModel:
    """A model that MLflow keeps; not a version yet.

    Attributes:
        uri: Its address, `models:/m-...`.
        model_id: Its id.
    """

    uri: str
    model_id: str


@contextmanager
def packed(candidate: Path, form: str, trained_on: frozenset[str]) -> Iterator[Path]:
    """A temporary folder as it will be served: `model.onnx`, `model.json` and `trained_on.txt`; `model.int8.onnx` if `form` is `int8`.

    Whoever serves finds the 8-bit network only where it may serve, and float32 where the registry cannot be asked which it is.
    """
    with tempfile.TemporaryDirectory(prefix="pawflow-") as name:
        folder = Path(name) / _MODEL
        folder.mkdir()
        for file in (MODEL_FILE, CARD_FILE, *([INT8_FILE] if form == "int8" else [])):
            shutil.copy(candidate / file, folder)
        (folder / TRAINED_ON).write_text("\n".join(sorted(trained_on)) + "\n")
        yield folder


def log_model(folder: Path, example: bytes, params: dict[str, str]) -> LoggedModel:
    """Log a packed folder in the open run.

    Args:
        folder: As `packed` made it.
        example: An encoded photo, kept with the model to show what it takes.
        params: Shown with the logged model.
    """
    inputs = Schema([ColSpec(DataType.binary, "image")])
    outputs = Schema(
        [
            ColSpec(DataType.string, "label"),
            ColSpec(DataType.double, "probability"),
            ColSpec(Map(DataType.double), "probabilities"),
            ColSpec(DataType.boolean, "not_sure"),
            ColSpec(DataType.string, "model_version"),
            ColSpec(DataType.string, "dataset_digest"),
            ColSpec(Array(Array(DataType.double)), "heat_map", required=False),
            ColSpec(DataType.string, "error", required=False),
        ]
    )
    options = ParamSchema(
        [
            ParamSpec("top_k", DataType.long, 0),
            ParamSpec("threshold", DataType.double, None),
            ParamSpec("heat_map", DataType.boolean, False),
            ParamSpec("on_error", DataType.string, "fail"),
        ]
    )
    package = Path(predictor.__file__).parent
    info = mlflow.pyfunc.log_model(
        name=_MODEL,
        python_model=str(package / "model.py"),
        artifacts={_MODEL: str(folder)},
        code_paths=[str(package)],
        signature=ModelSignature(inputs=inputs, outputs=outputs, params=options),
        input_example=pd.DataFrame({"image": [example]}),
        pip_requirements=[f"{name}=={importlib.metadata.version(name)}" for name in _REQUIREMENTS],
        params=params,
    )
    return LoggedModel(str(info.model_uri), str(info.model_id))


def keep_with_model(model_id: str, folder: Path) -> None:
    """Add the files of a folder to a logged model, so that whoever has the version has them."""
    tracking_store.configure()
    mlflow.MlflowClient().log_model_artifacts(model_id, str(folder))


def load_pyfunc(uri: str) -> Callable[[list[bytes]], list[dict[str, Any]]]:
    """The model as MLflow loads it: encoded photos in, answers out."""
    model = mlflow.pyfunc.load_model(uri)
    return lambda photos: list(model.predict(pd.DataFrame({"image": photos})))
