"""The MLflow model: `mlflow models serve` and `mlflow.pyfunc.load_model` load this file and call its `predict`.

In: a table with one column, `image`, of encoded photos (base64 text in JSON, bytes in Parquet), and the `params` of
`serving.options`. Out: one answer per row, see `Predictor.predict`. It is logged as source code, so loading a model runs no pickle.
"""

from __future__ import annotations

import base64
import binascii
import logging
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
import yaml
from mlflow.exceptions import MlflowException
from mlflow.models import set_model
from mlflow.protos.databricks_pb2 import BAD_REQUEST, TEMPORARILY_UNAVAILABLE
from mlflow.pyfunc.model import PythonModel, PythonModelContext

from serving.admission import ComputeQueue, OverloadedError
from serving.images import UnreadableImageError
from serving.options import Options, RequestError
from serving.predictor import MAX_DECODING_MEMORY, SERVE_TAG, Predictor, serves_int8

_log = logging.getLogger(__name__)


class PhotoClassifier(PythonModel):
    """Adapter between MLflow's tables and the predictor's photos."""

    def load_context(self, context: PythonModelContext) -> None:
        """Load the network; MLflow calls this once."""
        folder = Path(context.artifacts["model"])
        name, version = _read_origin(folder)
        int8 = serves_int8(folder, _read_tag(name, version), f"{name} version {version}")
        self._predictor = Predictor(folder, version, int8=int8, max_memory=MAX_DECODING_MEMORY)
        # MLflow calls `predict` from as many threads as there are requests.
        self._queue = ComputeQueue()

    def predict(self, context: PythonModelContext, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> list[dict[str, Any]]:
        """Answer for every row of `model_input`.

        Raises:
            MlflowException: With status 400, an option is wrong or a row is not a photo; with 503, too many requests are waiting.
        """
        try:
            options = Options.parse(params or {})
            with self._queue.admit():
                return [self._answer(row, image, options) for row, image in enumerate(_list_images(model_input))]
        except RequestError as error:
            raise MlflowException(str(error), error_code=BAD_REQUEST) from None
        except OverloadedError as error:
            raise MlflowException(str(error), error_code=TEMPORARILY_UNAVAILABLE) from None

    def _answer(self, row: int, image: Any, options: Options) -> dict[str, Any]:
        try:
            return self._queue.submit(lambda: self._predictor.predict(_decode(image), options)).result()
        except UnreadableImageError as error:
            if options.on_error == "report":
                return {"error": str(error)}
            raise RequestError(f"row {row}: {error}") from None


def _list_images(model_input: Any) -> Iterator[Any]:
    """The photos of a table, or of the mapping that MLflow makes of some requests."""
    if not isinstance(model_input, pd.DataFrame | Mapping) or "image" not in model_input:
        raise RequestError("expected one column, `image`, of photos as base64 text")
    images = model_input["image"]
    return iter([images] if isinstance(images, str | bytes) else images)


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


def _read_origin(folder: Path) -> tuple[str, str]:
    """Name and version being served, which MLflow notes at the top of a model that it has fetched from the registry; else empty."""
    for parent in folder.parents:
        note = parent / "registered_model_meta"
        if note.is_file():
            meta = yaml.safe_load(note.read_text())
            return str(meta["model_name"]), str(meta["model_version"])
        if (parent / "MLmodel").is_file():
            break
    return "", ""


def _read_tag(name: str, version: str) -> str | None:
    """What the registry says of which network serves; None where no registry can be asked."""
    # Asking without an address would create an empty registry in the current folder.
    if not name or not ("MLFLOW_TRACKING_URI" in os.environ or Path("mlflow.db").exists()):
        return None
    try:
        return mlflow.MlflowClient().get_model_version(name, version).tags.get(SERVE_TAG)
    except MlflowException as error:
        _log.warning("serving float32: the registry does not say which network of %s version %s to serve (%s)", name, version, error)
        return None


set_model(PhotoClassifier())
