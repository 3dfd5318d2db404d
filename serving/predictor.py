"""From an encoded photo to an answer: decode, run the network in ONNX Runtime, name the class.

Needs NumPy, Pillow and ONNX Runtime, nothing else. A model folder holds `model.onnx` (see `components/train/export.py`) and
`model.json`, which says what the network's outputs mean.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from serving.images import Pixels, read_photo

MODEL_FILE = "model.onnx"
CARD_FILE = "model.json"


@dataclass(frozen=True)
class ModelCard:
    """What a network's outputs mean and where it is from.

    Attributes:
        classes: Names in the order of the outputs.
        image_size: Side of the square that the network takes, in pixels.
        dataset_digest: Identity of the data it was trained and judged on.
        not_sure_below: Probability of the label under which an answer counts as not sure.
        generated: Whether it was trained on drawn images.
        resize: How a photo becomes that square; a key of `serving.images.RESIZERS`.
    """

    classes: tuple[str, ...]
    image_size: int
    dataset_digest: str
    not_sure_below: float
    generated: bool
    resize: str = "squeeze"

    @classmethod
    def read(cls, path: Path) -> ModelCard:
        """Load a card from JSON."""
        values = json.loads(path.read_text())
        return cls(**{**values, "classes": tuple(values["classes"])})

    def write(self, path: Path) -> None:
        """Save the card as JSON."""
        path.write_text(json.dumps(asdict(self), indent=1))


class Predictor:
    """A model, ready to answer. Safe to call from several threads; each call computes on one core."""

    def __init__(self, folder: Path, version: str = "") -> None:
        """Load the model in `folder`; `version` is repeated in every answer."""
        self.card = ModelCard.read(folder / CARD_FILE)
        self.version = version
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(str(folder / MODEL_FILE), options, providers=["CPUExecutionProvider"])
        self.score(np.zeros((self.card.image_size, self.card.image_size, 3), np.uint8))

    def predict(self, data: bytes) -> dict[str, Any]:
        """Classify one encoded photo.

        Returns:
            `label` (the most probable class), `probability` (of the label), `probabilities` (class -> probability), `not_sure`,
            `model_version`, `dataset_digest`.

        Raises:
            UnreadableImageError: The bytes are not a photo that can be decoded.
        """
        probabilities = self.score(read_photo(data, self.card.image_size, self.card.resize).pixels)
        best = int(np.argmax(probabilities))
        return {
            "label": self.card.classes[best],
            "probability": float(probabilities[best]),
            "probabilities": {name: float(value) for name, value in zip(self.card.classes, probabilities, strict=True)},
            "not_sure": bool(probabilities[best] < self.card.not_sure_below),
            "model_version": self.version,
            "dataset_digest": self.card.dataset_digest,
        }

    def score(self, pixels: Pixels) -> NDArray[np.float32]:
        """Probabilities of one decoded square: uint8 (image_size, image_size, 3) to float32 (num_classes,)."""
        # One image at a time: on a CPU a batch is no faster per image, and waiting for one would cost latency.
        outputs = self._session.run(["probabilities"], {"image": pixels[np.newaxis].astype(np.float32)})
        return np.asarray(outputs[0][0], dtype=np.float32)
