"""How training images are varied: one implementation for the stored views and for training on the fly.

In: uint8 pixels, a policy and random numbers. Out: uint8 pixels of the same shape. Shifts are by whole pixels, so a policy of flips and
shifts copies pixels without blurring any; with rotation or crop, geometry is one affine map, so an image is resampled once. Borders are
mirrored. Colour is one table look-up per channel and a blend with grey; last, a square is cut out. The numbers of a whole view or epoch are
drawn at once from its key, so the result depends neither on the order in which threads work nor on how images are batched.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from components.common.recipe import Augment
from serving.images import Pixels

Draws = NDArray[np.float64]

#: Random numbers for one image: angle, zoom, mirror, shift in x and y, brightness, contrast, saturation.
_NUM_DRAWS = 8
_MIRROR = 2
#: And, from a generator of their own, so that policies without them draw what they always drew: column and row of what is cut out.
_NUM_LATER_DRAWS = 2
#: Of what is cut out: the middle of the range, which most networks scale to about 0.
_GREY = 128


def draw(num_images: int, seed: int, turn: int) -> Draws:
    """Random numbers for `vary`, shape (num_images, 10).

    Args:
        num_images: How many.
        seed: Of all turns.
        turn: Number of the view or the epoch, from 0 on. An image that is mirrored in one is not in the next: each side is seen as often
            (Jordan, "94% on CIFAR-10 in 3.29 Seconds on a Single GPU", 2024).
    """
    generator = np.random.default_rng((seed, turn))
    (later,) = generator.spawn(1)
    draws = np.hstack([generator.random((num_images, _NUM_DRAWS)), later.random((num_images, _NUM_LATER_DRAWS))])
    draws[:, _MIRROR] = (np.random.default_rng(seed).random(num_images) + turn / 2) % 1.0
    return draws


def vary(images: Pixels, policy: Augment, draws: Draws) -> Pixels:
    """Return a variant of each image, or the very same array if the policy changes nothing.

    Args:
        images: uint8 RGB, shape (n, height, width, 3).
        policy: Ranges that the draws are scaled to.
        draws: Rows of what `draw` returned, one for each image.
    """
    return _cut_out(_recolour(_move(images, policy, draws), policy, draws), policy, draws)


def _symmetric(draws: Draws, limit: float) -> Draws:
    return (2.0 * draws - 1.0) * limit


def _move(images: Pixels, policy: Augment, draws: Draws) -> Pixels:
    height, width = images.shape[1:3]
    mirrored = draws[:, _MIRROR] < 0.5 if policy.flip else np.zeros(len(images), bool)
    shifts = np.rint(_symmetric(draws[:, 3:5], policy.shift) * (width, height)).astype(int)
    if policy.rotate or policy.crop:
        angles, zooms = np.radians(_symmetric(draws[:, 0], policy.rotate)), 1.0 - policy.crop * draws[:, 1]
        moved = [_warp(*each) for each in zip(images, angles, zooms, mirrored, shifts, strict=True)]
    elif policy.flip or policy.shift:
        margin = math.ceil(policy.shift * max(width, height))
        moved = [_slide(*each, margin) for each in zip(images, mirrored, shifts, strict=True)]
    else:
        return images
    return np.stack(moved)


def _slide(pixels: Pixels, mirrored: bool, shift: NDArray[np.int64], margin: int) -> Pixels:
    if margin:
        height, width = pixels.shape[:2]
        left, top = margin + shift
        padded = cv2.copyMakeBorder(pixels, margin, margin, margin, margin, cv2.BORDER_REFLECT_101)
        pixels = np.asarray(padded[top : top + height, left : left + width], np.uint8)
    return np.asarray(cv2.flip(pixels, 1), np.uint8) if mirrored else pixels


def _warp(pixels: Pixels, angle: float, zoom: float, mirrored: bool, shift: NDArray[np.int64]) -> Pixels:
    height, width = pixels.shape[:2]
    # Output pixel -> input pixel about the centre, which is the direction in which an image is resampled.
    cosine, sine = zoom * math.cos(angle), zoom * math.sin(angle)
    mirror = -1.0 if mirrored else 1.0
    matrix = np.array([[mirror * cosine, -mirror * sine, 0.0], [sine, cosine, 0.0]])
    centre = np.array([(width - 1) / 2, (height - 1) / 2])
    matrix[:, 2] = centre + shift - matrix[:, :2] @ centre
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpAffine(pixels, matrix, (width, height), flags=flags, borderMode=cv2.BORDER_REFLECT_101), np.uint8)


def _recolour(images: Pixels, policy: Augment, draws: Draws) -> Pixels:
    if not (policy.brightness or policy.contrast or policy.saturation):
        return images
    factors = 1.0 + _symmetric(draws[:, 5:8], 1.0) * (policy.brightness, policy.contrast, policy.saturation)
    return np.stack([_tint(pixels, *row) for pixels, row in zip(images, factors, strict=True)])


def _tint(pixels: Pixels, brightness: float, contrast: float, saturation: float) -> Pixels:
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    mean = cv2.mean(grey)[0]
    colour = cv2.addWeighted(pixels, saturation, cv2.cvtColor(grey, cv2.COLOR_GRAY2RGB), 1.0 - saturation, 0.0)
    levels = np.arange(256) * (brightness * contrast) + brightness * (1.0 - contrast) * mean
    return np.asarray(cv2.LUT(colour, np.clip(np.rint(levels), 0, 255).astype(np.uint8)), np.uint8)


def _cut_out(images: Pixels, policy: Augment, draws: Draws) -> Pixels:
    """Grey out a square about a random pixel, partly outside of the image where that is near the border.

    DeVries and Taylor, "Improved Regularization of Convolutional Neural Networks with Cutout" (2017).
    """
    if not policy.cutout:
        return images
    height, width = images.shape[1:3]
    side, images = round(policy.cutout * max(height, width)), images.copy()
    corners = (draws[:, 8:] * (width, height)).astype(int) - side // 2
    for pixels, (left, top) in zip(images, corners, strict=True):
        pixels[max(top, 0) : top + side, max(left, 0) : left + side] = _GREY
    return images
