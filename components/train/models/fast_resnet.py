"""A residual network for small images that trains fast from scratch.

In: raw RGB pixels, 0-255. Out: the last feature map. After a stem, each stage widens, halves the side and adds a residual branch; there
is nothing else. The stem is learned, or fixed before training to what whitens the training images. After Page, "How to Train Your
ResNet" (2018), and Jordan, "94% on CIFAR-10 in 3.29 Seconds on a Single GPU" (2024).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal

import keras
import numpy as np

from components.train.models.options import WHITENING_CHANNELS, Activation
from serving.images import Pixels

_WHITENING = "stem_whitening"
#: Added to the variance of a component, so that one of which there is hardly any is not blown up; of pixels with deviation 1 or so.
_LEAST_VARIANCE = 5e-4


def build_features(
    image: Any,
    *,
    stem: Literal["convolution", "whitening"],
    widths: Sequence[int],
    depth: int,
    residual: bool,
    patch: int,
    activation: Activation,
    scale: float,
) -> Any:
    """Add the network up to its last feature map.

    Args:
        image: Raw RGB, 0-255, (n, height, width, 3).
        stem: A learned convolution, or the fixed one that `initialize` sets.
        widths: Channels of the stem and of each stage.
        depth: Convolutions of each stage after the one that widens it.
        residual: Add what came into those convolutions to what comes out.
        patch: Side of the square of pixels that the stem makes one position of; 1 suits 32 x 32 pixels, 2 suits 64 and more.
        activation: After each convolution.
        scale: Factor of the features, and so of what the head makes of them.

    Returns:
        Features (n, h, w, widths[-1]) with h = ceil(ceil(height / patch) / 2**(len(widths) - 1)), w likewise; after a whitening stem, with
        height - 1, since it has no borders, and rounded down to 1 or more.
    """
    is_whitened = stem == "whitening"

    def convolve(x: Any, num_channels: int, name: str, *, kernel_size: int = 3, stride: int = 1, pool: bool = False) -> Any:
        x = keras.layers.Conv2D(num_channels, kernel_size, strides=stride, padding="same", use_bias=False, name=name)(x)
        # Pooling comes first because it leaves a quarter of the values to normalise and to activate.
        if pool:
            padding = "valid" if is_whitened and x.shape[1] > 1 else "same"
            x = keras.layers.MaxPooling2D(padding=padding, name=f"{name}_pool")(x)
        x = keras.layers.BatchNormalization(momentum=0.9, name=f"{name}_bn")(x)
        return keras.layers.Activation(activation, name=f"{name}_{activation}")(x)

    x = keras.layers.Rescaling(1 / 63.75, offset=-2.0, name="rescale")(image)
    if is_whitened:
        x = keras.layers.Conv2D(widths[0], 2, use_bias=False, trainable=False, name=_WHITENING)(x)
        x = keras.layers.Activation(activation, name=f"stem_{activation}")(x)
    else:
        x = convolve(x, widths[0], "stem_conv", kernel_size=max(3, patch), stride=patch)
    for stage, width in enumerate(widths[1:], start=1):
        x = came_in = convolve(x, width, f"block{stage}_conv1", pool=True)
        for number in range(depth):
            x = convolve(x, width, f"block{stage}_conv{number + 2}")
        if residual and depth:
            x = keras.layers.Add(name=f"block{stage}_add")([came_in, x])
    return keras.layers.Rescaling(scale, name="top_scale")(x)


def initialize(network: keras.Model, batches: Iterable[Pixels]) -> None:
    """Set a whitening stem, if the network has one: over some images its outputs have a mean square of 1, and a mean product of 0.

    Args:
        network: Has the layers of `build_features`.
        batches: The images, uint8 RGB, (n, height, width, 3) each.
    """
    layers = {layer.name: layer for layer in network.layers}
    if _WHITENING not in layers:
        return
    # What the stem is given, which is smaller than an image where the network resizes.
    scaled = keras.Model(network.input, layers["rescale"].output)
    products, num_patches = np.zeros((WHITENING_CHANNELS // 2, WHITENING_CHANNELS // 2)), 0
    for images in batches:
        pixels = np.asarray(scaled.predict_on_batch(images.astype(np.float32)), np.float64)
        patches = np.lib.stride_tricks.sliding_window_view(pixels, (2, 2), axis=(1, 2))
        # As the kernel has them: row, column, colour.
        patches = patches.transpose(0, 1, 2, 4, 5, 3).reshape(-1, WHITENING_CHANNELS // 2)
        products, num_patches = products + patches.T @ patches, num_patches + len(patches)
    variances, components = np.linalg.eigh(products / num_patches)
    kernel = components / np.sqrt(variances + _LEAST_VARIANCE)
    # Each in both signs, since the activation that follows drops one.
    layers[_WHITENING].set_weights([np.hstack([kernel, -kernel]).reshape(2, 2, 3, WHITENING_CHANNELS)])
