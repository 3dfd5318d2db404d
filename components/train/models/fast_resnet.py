"""A residual network for small images that trains fast from scratch.

In: raw RGB pixels, 0-255. Out: the last feature map. After a stem, each stage widens, halves the side and adds a residual branch; there
is nothing else. After Jordan, "94% on CIFAR-10 in 3.29 Seconds on a Single GPU" (2024), and Page, "How to Train Your ResNet" (2018),
without the former's whitened stem, which needs the training images before training.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from components.train.models.options import Activation


def build_features(
    image: Any, *, widths: Sequence[int], depth: int, residual: bool, patch: int, activation: Activation, scale: float
) -> Any:
    """Add the network up to its last feature map.

    Args:
        image: Raw RGB, 0-255, (n, height, width, 3).
        widths: Channels of the stem and of each stage.
        depth: Convolutions of each stage after the one that widens it.
        residual: Add what came into those convolutions to what comes out.
        patch: Side of the square of pixels that the stem makes one position of; 1 suits 32 x 32 pixels, 2 suits 64 and more.
        activation: After each convolution.
        scale: Factor of the features, and so of what the head makes of them.

    Returns:
        Features (n, h, w, widths[-1]) with h = ceil(ceil(height / patch) / 2**(len(widths) - 1)), w likewise.
    """

    def convolve(x: Any, num_channels: int, name: str, *, kernel_size: int = 3, stride: int = 1, pool: bool = False) -> Any:
        x = keras.layers.Conv2D(num_channels, kernel_size, strides=stride, padding="same", use_bias=False, name=name)(x)
        # Pooling comes first because it leaves a quarter of the values to normalise and to activate.
        x = keras.layers.MaxPooling2D(padding="same", name=f"{name}_pool")(x) if pool else x
        x = keras.layers.BatchNormalization(momentum=0.9, name=f"{name}_bn")(x)
        return keras.layers.Activation(activation, name=f"{name}_{activation}")(x)

    x = keras.layers.Rescaling(1 / 63.75, offset=-2.0, name="rescale")(image)
    x = convolve(x, widths[0], "stem_conv", kernel_size=max(3, patch), stride=patch)
    for stage, width in enumerate(widths[1:], start=1):
        x = came_in = convolve(x, width, f"block{stage}_conv1", pool=True)
        for number in range(depth):
            x = convolve(x, width, f"block{stage}_conv{number + 2}")
        if residual and depth:
            x = keras.layers.Add(name=f"block{stage}_add")([came_in, x])
    return keras.layers.Rescaling(scale, name="top_scale")(x)
