"""Pictures that are none of the classes, made without any download: how many of them are answered with "not sure".

They are only the crudest strangers. How photos of other things fare was measured once, outside the pipeline: see docs/evaluation.md.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw
from sklearn.metrics import roc_auc_score

from components.common.progress import track
from components.evaluate.answers import Answers, ask
from serving.images import Pixels
from serving.predictor import Predictor

_NUM_EACH = 60
_LETTERS = "abcdefghijklmnopqrstuvwxyz     "


def _draw_noise(size: int, generator: np.random.Generator) -> Pixels:
    return generator.integers(0, 256, (size, size, 3), dtype=np.uint8)


def _draw_clouds(size: int, generator: np.random.Generator) -> Pixels:
    coarse = generator.integers(0, 256, (*generator.integers(3, 40, 2), 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((size, size), Image.Resampling.BICUBIC))


def _draw_one_colour(size: int, generator: np.random.Generator) -> Pixels:
    return np.full((size, size, 3), generator.integers(0, 256, 3), np.uint8)


def _draw_stripes(size: int, generator: np.random.Generator) -> Pixels:
    """Waves or hard stripes of two colours, at any angle."""
    angle, frequency = generator.uniform(0, np.pi), generator.uniform(8, 200) / size
    row, column = np.mgrid[:size, :size]
    wave = np.sin(frequency * (column * np.cos(angle) + row * np.sin(angle)))[..., np.newaxis]
    share = (np.sign(wave) if generator.random() < 0.5 else wave) / 2 + 0.5
    first, second = generator.uniform(0, 255, (2, 3))
    return np.asarray(first + (second - first) * share, dtype=np.uint8)


def _draw_text(size: int, generator: np.random.Generator) -> Pixels:
    """Lines of random letters, as on a screenshot or a meme."""
    image = Image.new("RGB", (size, size), tuple(generator.integers(0, 256, 3).tolist()))
    pen, height = ImageDraw.Draw(image), int(size * generator.uniform(0.05, 0.15))
    colour = tuple(generator.integers(0, 256, 3).tolist())
    for top in range(height // 2, size - height, int(1.4 * height)):
        line = "".join(generator.choice(list(_LETTERS), generator.integers(4, 30)))
        pen.text((height // 2, top), line, fill=colour, font_size=height)
    return np.asarray(image)


KINDS: dict[str, Callable[[int, np.random.Generator], Pixels]] = {
    "noise": _draw_noise,
    "clouds of colour": _draw_clouds,
    "one colour": _draw_one_colour,
    "stripes": _draw_stripes,
    "text": _draw_text,
}


def draw_strangers(size: int, seed: int) -> dict[str, list[Pixels]]:
    """Pictures of each kind, uint8 (size, size, 3)."""
    return {
        kind: [draw(size, np.random.default_rng([seed, number, index])) for index in range(_NUM_EACH)]
        for number, (kind, draw) in enumerate(KINDS.items())
    }


def measure_strangers(predictor: Predictor, known: Answers, strangers: Mapping[str, Sequence[Pixels]]) -> dict[str, Any]:
    """For each kind: `n`, the share answered with "not sure", and how well two scores tell them from test images, as areas under the ROC.

    Args:
        predictor: The candidate.
        known: What it says of test images.
        strangers: Kind -> squares of the size that it takes.
    """
    result = {}
    for kind, pictures in track(strangers.items(), "strangers", total=len(strangers), unit="kind"):
        said = ask(predictor, pictures)
        is_known = np.repeat([1, 0], [len(known.peak), len(said.peak)])
        result[kind] = {
            "n": len(pictures),
            "not_sure": float(said.not_sure.mean()),
            "auroc_peak": float(roc_auc_score(is_known, np.concatenate([known.peak, said.peak]))),
            "auroc_probability": float(roc_auc_score(is_known, np.concatenate([known.confidence, said.confidence]))),
        }
    return result
