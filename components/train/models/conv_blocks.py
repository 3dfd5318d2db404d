"""Three blocks of two convolutions and a pooling, trained from scratch: the classic network for CIFAR-10.

In: raw RGB pixels, 0-255. Out: the last feature map. Its switches, batch normalisation and dropout, make up a ladder of regularisation.
"""

from __future__ import annotations

from typing import Any

import keras

from components.train.models.options import Activation
from components.train.models.simple_cnn import add_convolution, add_pooling

_NUM_BLOCKS = 3


def build_features(image: Any, *, layer_size: int, dropout: float, activation: Activation, **initial: Any) -> Any:
    """Add the network up to its last feature map.

    Args:
        image: Raw RGB, 0-255, (n, height, width, 3).
        layer_size: Channels of the first block; the others have twice and four times as many.
        dropout: Share of the values hidden after each block while training.
        activation: After each convolution.
        initial: Passed to `add_convolution`.

    Returns:
        Features (n, ceil(height / 8), ceil(width / 8), 4 * layer_size).
    """
    x = keras.layers.Rescaling(1 / 255, name="rescale")(image)
    for index in range(_NUM_BLOCKS):
        for number in (1, 2):
            x = add_convolution(x, f"block{index + 1}_conv{number}", layer_size * 2**index, activation=activation, **initial)
        x = add_pooling(x, f"block{index + 1}", dropout)
    return x
