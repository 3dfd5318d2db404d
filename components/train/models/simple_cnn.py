"""A small convolutional network, trained from scratch: the baseline that transfer learning has to beat.

In: raw RGB pixels, 0-255. Out: the last feature map. Each block is a 3x3 convolution with batch normalisation and halves the side.
"""

from __future__ import annotations

from collections.abc import Sequence

import keras


def build_backbone(image_size: int, *, filters: Sequence[int], activation: str, downsample: int) -> keras.Model:
    """Build the network up to its last feature map.

    Args:
        image_size: Height and width of the input, in pixels.
        filters: Number of channels of each block.
        activation: A Keras activation ("relu", "swish", "tanh", "leaky_relu").
        downsample: Factor by which the input is averaged down first; a network without pretrained weights needs fewer pixels.

    Returns:
        A model from "image" (n, image_size, image_size, 3), RGB 0-255, to (n, h, h, filters[-1]),
        h = image_size / downsample / 2**len(filters).
    """
    image = keras.Input((image_size, image_size, 3), name="image")
    x = keras.layers.Rescaling(1 / 127.5, offset=-1.0, name="rescale")(image)
    if downsample > 1:
        x = keras.layers.AveragePooling2D(downsample, name="downsample")(x)
    for number, channels in enumerate(filters, start=1):
        x = keras.layers.Conv2D(channels, 3, padding="same", use_bias=False, name=f"block{number}_conv")(x)
        # Few steps make an epoch of a small data set; with Keras's 0.99 the averages would lag behind the weights.
        x = keras.layers.BatchNormalization(momentum=0.9, name=f"block{number}_bn")(x)
        x = keras.layers.Activation(activation, name=f"block{number}_activation")(x)
        x = keras.layers.MaxPooling2D(name=f"block{number}_pool")(x)
    return keras.Model(image, x, name="simple_cnn")
