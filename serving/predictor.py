"""From an encoded photo to an answer: decode, run the network in ONNX Runtime, name the class.

Needs NumPy, Pillow and ONNX Runtime, nothing else. A model folder holds `model.onnx` (see `components/train/export.py`) and
`model.json`, which says what the network's outputs mean.
"""

from __future__ import annotations

import json
import logging
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from serving.activation import draw_evidence, draw_heat_map, find_peak
from serving.drift import measure
from serving.images import Photo, Pixels, read_photo
from serving.options import Options

_log = logging.getLogger(__name__)

MODEL_FILE = "model.onnx"
INT8_FILE = "model.int8.onnx"
CARD_FILE = "model.json"

#: Tag of a registered version that says which network serves: `int8` if its accuracy gate passed, else float32; see `serves_int8`.
SERVE_TAG = "pawflow.serve"

#: Bytes that decoding one photo may take in a server: enough for a 25-megapixel PNG, and for any ordinary JPEG.
MAX_DECODING_MEMORY = 200_000_000


def serves_int8(folder: Path, tag: str | None, name: str) -> bool:
    """Whether the 8-bit network of a registered version answers.

    Args:
        folder: Holds its networks.
        tag: Its `SERVE_TAG`, if it has one. Where that names a network that is not there, float32 serves, and a warning is logged.
        name: What the warning calls it.
    """
    if tag == "int8" and not (folder / INT8_FILE).is_file():
        _log.warning("serving float32: the tag %s of %s says int8, but there is no %s", SERVE_TAG, name, INT8_FILE)
        return False
    return tag == "int8"


@dataclass(frozen=True)
class ModelCard:
    """What a network's outputs mean and where it is from.

    Attributes:
        classes: Names in the order of the outputs.
        image_size: Side of the square that the network takes, in pixels.
        dataset_digest: Identity of the data it was trained and judged on.
        not_sure_below: Probability of the label under which an answer counts as not sure: it might as well be another class.
        generated: Whether it was trained on drawn images.
        resize: How a photo becomes that square; a key of `serving.images.RESIZERS`.
        unfamiliar_below: Peak of the evidence (see `serving.activation`) under which it counts as not sure too: it may be none of the
            classes. The peak is never below 0, which thus turns this off.
        temperature: What the network's own scores were divided by, so that probabilities mean what they say; the files hold the result.
    """

    classes: tuple[str, ...]
    image_size: int
    dataset_digest: str
    not_sure_below: float
    generated: bool
    resize: str = "squeeze"
    unfamiliar_below: float = 0.0
    temperature: float = 1.0

    @classmethod
    def read(cls, path: Path) -> ModelCard:
        """Load a card from JSON."""
        values = json.loads(path.read_text())
        return cls(**{**values, "classes": tuple(values["classes"])})

    def write(self, path: Path) -> None:
        """Save the card as JSON."""
        path.write_text(json.dumps(asdict(self), indent=1))


@dataclass(frozen=True)
class Examined:
    """One photo, answered and measured.

    Attributes:
        answer: See `Predictor.predict`.
        measured: See `serving.drift.measure`.
        not_sure: Whether the answer is not sure by the model's own threshold, whatever the caller asked for.
    """

    answer: dict[str, Any]
    measured: NDArray[np.float64]
    not_sure: bool


class Predictor:
    """A model, ready to answer. Safe to call from several threads; each call computes on one core."""

    def __init__(self, folder: Path, version: str = "", *, int8: bool = False, max_memory: int | None = None) -> None:
        """Load the model in `folder`.

        Args:
            folder: Holds `model.json` and the network.
            version: Repeated in every answer.
            int8: Whether to load the 8-bit network instead of the float32 one.
            max_memory: Bytes that decoding a photo may take; see `read_photo`.
        """
        self.card = ModelCard.read(folder / CARD_FILE)
        self.version = version
        self._max_memory = max_memory
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 3
        path = folder / (INT8_FILE if int8 else MODEL_FILE)
        self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        # The first call of a session is many times slower than the rest.
        self.score(np.zeros((self.card.image_size, self.card.image_size, 3), np.uint8))

    def predict(self, data: bytes, options: Options | None = None) -> dict[str, Any]:
        """Classify one encoded photo.

        Returns:
            `label` (the most probable class), `probability` (of the label), `probabilities` (class -> probability), `not_sure`,
            `model_version`, `dataset_digest`; with `options.heat_map` also `heat_map`: rows of numbers from 0 to 1, top to bottom, the
            evidence for the label in each part of the photo; 0 everywhere if it has nothing that the network knows.

        Raises:
            UnreadableImageError: The bytes are not a photo that can be decoded.
        """
        probabilities, activation = self.look(self._read(data).pixels)
        return self._answer(probabilities, activation, options or Options())

    def examine(self, data: bytes, options: Options | None = None) -> Examined:
        """The same as `predict`, and what monitoring counts of the photo."""
        photo = self._read(data)
        probabilities, activation = self.look(photo.pixels)
        not_sure = self.is_not_sure(probabilities, activation)
        measured = measure(photo.pixels, photo.width, photo.height, probabilities, activation, not_sure=not_sure)
        return Examined(self._answer(probabilities, activation, options or Options()), measured, not_sure)

    def measure(self, pixels: Pixels, width: int, height: int) -> NDArray[np.float64]:
        """What monitoring counts of a photo that was decoded already; see `serving.drift.measure`."""
        probabilities, activation = self.look(pixels)
        return measure(pixels, width, height, probabilities, activation, not_sure=self.is_not_sure(probabilities, activation))

    def _read(self, data: bytes) -> Photo:
        return read_photo(data, self.card.image_size, self.card.resize, self._max_memory)

    def _answer(self, probabilities: NDArray[np.float32], activation: NDArray[np.float32], options: Options) -> dict[str, Any]:
        best = int(np.argmax(probabilities))
        shown = np.argsort(-probabilities, kind="stable")[: options.top_k] if options.top_k else range(len(probabilities))
        answer = {
            "label": self.card.classes[best],
            "probability": float(probabilities[best]),
            "probabilities": {self.card.classes[index]: float(probabilities[index]) for index in shown},
            "not_sure": self.is_not_sure(probabilities, activation, options.threshold),
            "model_version": self.version,
            "dataset_digest": self.card.dataset_digest,
        }
        if options.heat_map:
            answer["heat_map"] = np.round(draw_heat_map(activation, best, self.card.unfamiliar_below), 3).tolist()
        return answer

    def is_not_sure(self, probabilities: NDArray[np.float32], activation: NDArray[np.float32], threshold: float | None = None) -> bool:
        """Whether the label is hardly more probable than others, or the photo has nothing that the network knows.

        Args:
            probabilities: From `look`, (num_classes,).
            activation: Likewise, (height, width, num_classes).
            threshold: Probability of the label that is enough; by default the card's.
        """
        is_ambiguous = probabilities.max() < (self.card.not_sure_below if threshold is None else threshold)
        return bool(is_ambiguous or find_peak(activation) < self.card.unfamiliar_below)

    def explain(self, pixels: Pixels, label: str) -> NDArray[np.float32]:
        """Where in a decoded square the network sees `label`: its class-activation map.

        Returns:
            float32 (image_size, image_size); above zero speaks for the label, below against it; the mean is what the softmax weighs.

        Raises:
            ValueError: The model does not know the label.
        """
        if label not in self.card.classes:
            raise ValueError(f"got the label {label!r}; this model knows {', '.join(self.card.classes)}")
        return draw_evidence(self.look(pixels)[1], self.card.classes.index(label), self.card.image_size)

    def look(self, pixels: Pixels) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """What the network says of one decoded square, uint8 (image_size, image_size, 3), in one run.

        Returns:
            Probabilities (num_classes,), and the class activation (height, width, num_classes); see `serving.activation`.
        """
        # One image at a time: on a CPU a batch is no faster per image, and waiting for one would cost latency.
        probabilities, activation = self._session.run(
            ["probabilities", "class_activation"], {"image": pixels[np.newaxis].astype(np.float32)}
        )
        return probabilities[0], activation[0]

    def score(self, pixels: Pixels) -> NDArray[np.float32]:
        """Probabilities of one decoded square: uint8 (image_size, image_size, 3) to float32 (num_classes,)."""
        return self.look(pixels)[0]
