"""A small convolutional network, trained from scratch: the baseline that transfer learning has to beat.

In: raw RGB pixels, 0-255. Out: the last feature map. Each block is a 3x3 convolution and halves the side.

The usual network of this kind flattens its last feature map into dense layers. Here a dense layer is applied at every position, and
averaging comes last: then the class-activation map is exact, which after flattening no map is, and the network has a small part of the
weights and takes images of any size.
"""

from __future__ import annotations

from typing import Any

import keras

from components.train.models.options import Activation, Initializer


def build_features(
    image: Any,
    *,
    conv_layers: int,
    layer_size: int,
    growth: float,
    dense_layers: int,
    grayscale: bool,
    dropout: float,
    activation: Activation,
    **initial: Any,
) -> Any:
    """Add the network up to its last feature map.

    Args:
        image: Raw RGB, 0-255, (n, height, width, 3).
        conv_layers: Number of blocks; block i has `layer_size * growth**i` channels, i from 0.
        layer_size: Channels of the first block, and units of each dense layer.
        growth: See `conv_layers`.
        dense_layers: Number of dense layers after the blocks.
        grayscale: Look at brightness only.
        dropout: Share of the values hidden after each block while training.
        activation: After each convolution and dense layer.
        initial: Passed to `add_convolution`.

    Returns:
        Features (n, ceil(height / 2**conv_layers), ceil(width / 2**conv_layers), channels).
    """
    x = keras.ops.image.rgb_to_grayscale(image) if grayscale else image
    x = keras.layers.Rescaling(1 / 127.5, offset=-1.0, name="rescale")(x)
    for index in range(conv_layers):
        name = f"block{index + 1}"
        x = add_convolution(x, f"{name}_conv", round(layer_size * growth**index), activation=activation, **initial)
        x = add_pooling(x, name, dropout)
    for index in range(dense_layers):
        # A convolution of side 1 is a dense layer at every position.
        x = add_convolution(x, f"dense{index + 1}", layer_size, kernel_size=1, activation=activation, **initial)
    return x


def add_convolution(
    x: Any,
    name: str,
    num_channels: int,
    *,
    kernel_size: int = 3,
    activation: Activation,
    kernel_initializer: Initializer,
    bias_initializer: float,
    batch_norm: bool,
) -> Any:
    """Add a convolution that keeps the side, batch normalisation if wanted, and an activation."""
    bias = keras.initializers.Constant(bias_initializer)
    x = keras.layers.Conv2D(
        num_channels,
        kernel_size,
        padding="same",
        # Batch normalisation takes the mean off, and with it any bias; its own shift stands in.
        use_bias=not batch_norm,
        kernel_initializer=kernel_initializer,
        bias_initializer=bias,
        name=name,
    )(x)
    if batch_norm:
        # Few steps make an epoch of a small data set; with Keras's 0.99 the averages would lag behind the weights.
        x = keras.layers.BatchNormalization(momentum=0.9, beta_initializer=bias, name=f"{name}_bn")(x)
    return keras.layers.Activation(activation, name=f"{name}_{activation}")(x)


def add_pooling(x: Any, name: str, dropout: float) -> Any:
    """Halve the side, which never falls below 1, and hide a share of the values while training."""
    x = keras.layers.MaxPooling2D(padding="same", name=f"{name}_pool")(x)
    return keras.layers.Dropout(dropout, name=f"{name}_dropout")(x) if dropout else x
