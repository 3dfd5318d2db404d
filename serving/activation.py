"""What the class-activation output of a network tells: where the evidence is, and whether there is any.

In: activations (..., height, width, num_classes), whose mean over the positions is the input of the softmax. The softmax sees only
differences between classes, so evidence for a class is its activation less the mean of all classes at that position, in units of the
softmax's input.

The map is that of Zhou et al., "Learning Deep Features for Discriminative Localization" (2016).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Floats = NDArray[np.floating]


def weigh_evidence(activation: Floats) -> Floats:
    """Evidence for each class at each position, of the same shape; its sum over the classes is zero."""
    return np.asarray(activation - activation.mean(axis=-1, keepdims=True))


def find_peak(activation: Floats) -> Floats:
    """The strongest evidence for any class at any position, shape (...); never negative.

    Photos of what a network was trained on have it somewhere; most others nowhere. That tells strangers from friends better than the
    probability does, which is high as soon as many weak hints agree (figures: docs/evaluation.md).
    """
    return np.asarray(weigh_evidence(activation).max(axis=(-3, -2, -1)))


def draw_evidence(activation: Floats, number: int, size: int) -> NDArray[np.float32]:
    """Evidence for one class as a map of the square that the network was given.

    Args:
        activation: Of one image, (height, width, num_classes).
        number: Of the class.
        size: Side of the square, in pixels.

    Returns:
        Shape (size, size), bilinear between positions; above zero speaks for the class, below against it.
    """
    evidence = np.ascontiguousarray(weigh_evidence(activation)[..., number], dtype=np.float32)
    return np.asarray(Image.fromarray(evidence).resize((size, size), Image.Resampling.BILINEAR), dtype=np.float32)


def draw_heat_map(activation: Floats, number: int, unfamiliar_below: float = 0.0) -> NDArray[np.float64]:
    """Evidence for one class as shares of the strongest, for people: (height, width), from 0 (none, or evidence against it) to 1.

    Args:
        activation: Of one image, (height, width, num_classes).
        number: Of the class.
        unfamiliar_below: Peak under which there is nothing to show, and the map is 0 everywhere: the strongest of what means nothing
            would else look like something.
    """
    evidence = np.maximum(weigh_evidence(activation)[..., number], 0).astype(np.float64)
    return evidence * 0 if find_peak(activation) < unfamiliar_below else evidence / max(float(evidence.max()), 1e-6)
