"""How a training image is varied: one implementation for the stored views and for training on the fly.

In: uint8 pixels, a policy and a random generator. Out: uint8 pixels of the same shape. Geometry is one affine map with mirrored
borders, so an image is resampled once; colour is one table look-up per channel and a blend with grey. The generator is derived from
(seed, view or epoch, row), so the result does not depend on the order in which threads work.
"""

from __future__ import annotations

import math

import cv2
import numpy as np

from components.common.recipe import Augment
from serving.images import Pixels


def vary(pixels: Pixels, policy: Augment, *key: int) -> Pixels:
    """Return a variant of one image.

    Args:
        pixels: uint8 RGB, shape (height, width, 3).
        policy: Ranges to draw from.
        key: Integers that identify the draw, (seed, view, row) say; the same key gives the same variant.
    """
    generator = np.random.default_rng(key)
    return _recolour(_move(pixels, policy, generator), policy, generator)


def _move(pixels: Pixels, policy: Augment, generator: np.random.Generator) -> Pixels:
    height, width = pixels.shape[:2]
    angle = math.radians(generator.uniform(-policy.rotate, policy.rotate))
    zoom = 1.0 - generator.uniform(0.0, policy.crop)
    mirror = -1.0 if policy.flip and generator.random() < 0.5 else 1.0
    shift = generator.uniform(-policy.shift, policy.shift, 2) * (width, height)
    # Output pixel -> input pixel about the centre, which is the direction in which an image is resampled.
    cosine, sine = zoom * math.cos(angle), zoom * math.sin(angle)
    matrix = np.array([[mirror * cosine, -mirror * sine, 0.0], [sine, cosine, 0.0]])
    centre = np.array([(width - 1) / 2, (height - 1) / 2])
    matrix[:, 2] = centre + shift - matrix[:, :2] @ centre
    if np.allclose(matrix, [[1, 0, 0], [0, 1, 0]]):
        return pixels
    moved = cv2.warpAffine(
        np.ascontiguousarray(pixels),
        matrix,
        (width, height),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REFLECT_101,
    )
    return np.asarray(moved, dtype=np.uint8)


def _recolour(pixels: Pixels, policy: Augment, generator: np.random.Generator) -> Pixels:
    brightness = 1.0 + generator.uniform(-policy.brightness, policy.brightness)
    contrast = 1.0 + generator.uniform(-policy.contrast, policy.contrast)
    saturation = 1.0 + generator.uniform(-policy.saturation, policy.saturation)
    if brightness == contrast == saturation == 1.0:
        return pixels
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    mean = float(grey.mean())
    colour = cv2.addWeighted(pixels, saturation, cv2.cvtColor(grey, cv2.COLOR_GRAY2RGB), 1.0 - saturation, 0.0)
    levels = np.arange(256) * (brightness * contrast) + brightness * (1.0 - contrast) * mean
    return np.asarray(cv2.LUT(colour, np.clip(np.rint(levels), 0, 255).astype(np.uint8)), dtype=np.uint8)
