"""InceptionResNetV2 without its classifier: the largest network here, for machines with a GPU.

In: raw RGB pixels, 0-255. Out: the last feature map, 1536 channels.

Architecture and weights: Szegedy et al., "Inception-v4, Inception-ResNet and the Impact of Residual Connections on Learning" (2017), by
way of Keras Applications.
"""

from __future__ import annotations

from typing import Any

import keras

from components.train.weights import find_weights


def build_features(image: Any, *, weights: str) -> Any:
    """Add the network up to its last feature map.

    Args:
        image: Raw RGB, 0-255, (n, height, width, 3), at least 75 x 75.
        weights: "imagenet" or "random".

    Returns:
        Features (n, height', width', 1536), 3 x 3 for images of 150 x 150. Blocks end with "mixed_5b", "block35_10", "mixed_6a",
        "block17_20", "mixed_7a", "block8_10", "conv_7b".
    """
    x = keras.layers.Rescaling(1 / 127.5, offset=-1.0, name="stem_rescale")(image)
    path = str(find_weights("inception_resnet_v2")) if weights == "imagenet" else None
    return keras.applications.InceptionResNetV2(include_top=False, weights=path, input_tensor=x).output
