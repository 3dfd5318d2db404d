"""What others do with a photo, whatever server they put around it: decode with Pillow as its documentation shows, and run the ONNX file."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import onnxruntime
from PIL import Image


class Network:
    """An ONNX file, loaded."""

    def __init__(self, path: str, classes: list[str], size: int, num_threads: int = 1) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = num_threads
        self._session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self._classes, self._size = classes, size

    def classify(self, data: bytes) -> dict[str, Any]:
        """One encoded photo to the probability of each class."""
        image = Image.open(io.BytesIO(data)).convert("RGB").resize((self._size, self._size), Image.Resampling.BILINEAR)
        (probabilities,) = self._session.run(["probabilities"], {"image": np.asarray(image, np.float32)[np.newaxis]})
        return dict(zip(self._classes, probabilities[0].tolist(), strict=True))
