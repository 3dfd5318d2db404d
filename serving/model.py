"""The MLflow model: `mlflow models serve` and `mlflow.pyfunc.load_model` load this file and call its `predict`.

In: a table with one column, `image`, of encoded photos (base64 text in JSON). Out: one answer per row, see `Predictor.predict`. It is
logged as source code, so loading a model runs no pickle.
"""

from __future__ import annotations

import base64
import binascii
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from mlflow.exceptions import MlflowException
from mlflow.models import set_model
from mlflow.protos.databricks_pb2 import BAD_REQUEST
from mlflow.pyfunc.model import PythonModel, PythonModelContext

from serving.images import UnreadableImageError
from serving.predictor import Predictor


class PhotoClassifier(PythonModel):
    """Adapter between MLflow's tables and the predictor's photos."""

    def load_context(self, context: PythonModelContext) -> None:
        """Load the network; MLflow calls this once."""
        folder = Path(context.artifacts["model"])
        self._predictor = Predictor(folder, _read_version(folder))

    def predict(self, context: PythonModelContext, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> list[dict[str, Any]]:
        """Answer for every row of `model_input`.

        Raises:
            MlflowException: A row is not a photo; the caller gets its message with status 400.
        """
        return [self._answer(row, image) for row, image in enumerate(model_input["image"])]

    def _answer(self, row: int, image: Any) -> dict[str, Any]:
        try:
            return self._predictor.predict(_decode(image))
        except UnreadableImageError as error:
            raise MlflowException(f"row {row}: {error}", error_code=BAD_REQUEST) from None


def _decode(image: Any) -> bytes:
    """The photo's bytes from what MLflow makes of a request: decoded for a table, still base64 for `inputs` and `instances`."""
    if isinstance(image, str):
        image = image.encode()
    if not isinstance(image, bytes):
        raise UnreadableImageError(f"got a {type(image).__name__}; expected the photo's bytes as base64 text")
    if not image:
        # MLflow turns text that is not base64 into nothing.
        raise UnreadableImageError("no photo arrived: the text is empty or not base64; expected the bytes of a photo, encoded as base64")
    try:
        # No image file consists of base64's letters alone, so what decodes as such is text.
        return base64.b64decode(image, validate=True)
    except binascii.Error:
        return image


def _read_version(folder: Path) -> str:
    """The registry version that is being served, which MLflow notes at the top of a model that it has fetched from the registry."""
    for parent in folder.parents:
        note = parent / "registered_model_meta"
        if note.is_file():
            return str(yaml.safe_load(note.read_text())["model_version"])
        if (parent / "MLmodel").is_file():
            break
    return ""


set_model(PhotoClassifier())
