"""VGG16 without its classifier.

In: raw RGB pixels, 0-255. Out: the last feature map, 512 channels.

Architecture and weights: Simonyan and Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition" (2015), by way of
Keras Applications.
"""

from __future__ import annotations

from typing import Any

import keras

from components.train.weights import find_weights

#: Of the photos in ImageNet, red, green and blue: what the network was trained without.
_MEAN = (123.68, 116.779, 103.939)


def build_features(image: Any, *, weights: str) -> Any:
    """Add the network up to its last feature map.

    Args:
        image: Raw RGB, 0-255, (n, height, width, 3), at least 32 x 32.
        weights: "imagenet" or "random".

    Returns:
        Features (n, height // 32, width // 32, 512). The layers are named "block1_*" ... "block5_*".
    """
    x = keras.layers.Rescaling(1.0, offset=[-value for value in _MEAN], name="stem_rescale")(image)
    path = str(find_weights("vgg16")) if weights == "imagenet" else None
    network = keras.applications.VGG16(include_top=False, weights=path, input_tensor=x)
    if path:
        # The published network takes blue first. The same one with its first kernel turned round takes red first.
        first = network.get_layer("block1_conv1")
        kernel, bias = first.get_weights()
        first.set_weights([kernel[:, :, ::-1], bias])
    return network.output
