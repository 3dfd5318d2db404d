"""Accuracy on photos that were treated badly: compressed again, blurred, noisy, turned, cut.

Each treatment is applied to the same test images at two strengths, and its accuracy stands beside that of the images as they are. Strengths
are relative to the image where that makes sense, so that they mean the same at every size. A treatment takes and returns uint8 RGB of
shape (side, side, 3).
"""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from components.common.metrics import Labels, estimate_accuracy
from components.common.progress import track
from components.common.shards import Images
from components.evaluate.answers import ask
from serving.images import Pixels
from serving.predictor import Predictor

MOST_IMAGES = 500


def recompress(pixels: Pixels, strength: float, generator: np.random.Generator) -> Pixels:
    """As JPEG of quality `strength`."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=int(strength))
    return np.asarray(Image.open(stream))


def blur(pixels: Pixels, strength: float, generator: np.random.Generator) -> Pixels:
    """With a Gaussian whose standard deviation is `strength` of the side."""
    return np.asarray(cv2.GaussianBlur(pixels, (0, 0), strength * pixels.shape[0]), dtype=np.uint8)


def add_noise(pixels: Pixels, strength: float, generator: np.random.Generator) -> Pixels:
    """Gaussian, of standard deviation `strength` levels."""
    noisy = pixels + generator.normal(0, strength, pixels.shape)
    return np.clip(np.rint(noisy), 0, 255).astype(np.uint8)


def rotate(pixels: Pixels, strength: float, generator: np.random.Generator) -> Pixels:
    """By `strength` degrees to either side, with mirrored borders."""
    size = pixels.shape[0]
    matrix = cv2.getRotationMatrix2D(((size - 1) / 2, (size - 1) / 2), strength * generator.choice([-1, 1]), 1.0)
    return np.asarray(cv2.warpAffine(pixels, matrix, (size, size), borderMode=cv2.BORDER_REFLECT_101), dtype=np.uint8)


def crop(pixels: Pixels, strength: float, generator: np.random.Generator) -> Pixels:
    """To `strength` of each side, anywhere, and enlarged to the old size."""
    size = pixels.shape[0]
    side = round(strength * size)
    top, left = generator.integers(0, size - side + 1, 2)
    return np.asarray(Image.fromarray(pixels[top : top + side, left : left + side]).resize((size, size), Image.Resampling.BILINEAR))


#: Name -> what is done, and how strongly.
TREATMENTS: dict[str, tuple[Callable[[Pixels, float, np.random.Generator], Pixels], float]] = {
    "JPEG of quality 30": (recompress, 30),
    "JPEG of quality 10": (recompress, 10),
    "blur of 1 % of the side": (blur, 0.01),
    "blur of 2 % of the side": (blur, 0.02),
    "noise of 15 levels": (add_noise, 15),
    "noise of 40 levels": (add_noise, 40),
    "turned by 15 degrees": (rotate, 15),
    "turned by 90 degrees": (rotate, 90),
    "cut to 70 % of the side": (crop, 0.7),
    "cut to 50 % of the side": (crop, 0.5),
}


def measure_robustness(
    predictor: Predictor, images: Images, labels: Labels, groups: NDArray[Any], rows: NDArray[np.int64], seed: int
) -> dict[str, Any]:
    """Treatment -> accuracy with interval, errors and n; "as they are" first.

    Args:
        predictor: The candidate.
        images: Of the test split.
        labels: Class numbers of all of them.
        groups: Of all of them, see `estimate_metrics`.
        rows: Which to use; at most 500, evenly spread.
        seed: Of noise, direction and place.
    """
    rows = rows[np.unique(np.linspace(0, len(rows) - 1, MOST_IMAGES).astype(np.int64))]
    pixels, labels, groups = list(images.take(rows)), labels[rows], groups[rows]
    result: dict[str, Any] = {"as they are": estimate_accuracy(labels, ask(predictor, pixels).probabilities, groups)}
    for name, (treat, strength) in track(TREATMENTS.items(), "robustness", total=len(TREATMENTS), unit="treatment"):
        treated = [treat(image, strength, np.random.default_rng([seed, row])) for image, row in zip(pixels, rows, strict=True)]
        result[name] = estimate_accuracy(labels, ask(predictor, treated).probabilities, groups)
    return result
