"""InceptionV3 up to its layer `mixed7`: the middle of the network, whose features are less bound to ImageNet's classes than the last.

In: raw RGB pixels, 0-255. Out: the feature map of `mixed7`, 768 channels.

Architecture and weights: Szegedy et al., "Rethinking the Inception Architecture for Computer Vision" (2016), by way of Keras Applications.
"""

from __future__ import annotations

from typing import Any

import keras

from components.train.weights import find_weights


def build_features(image: Any, *, weights: str) -> Any:
    """Add the network up to `mixed7`.

    Args:
        image: Raw RGB, 0-255, (n, height, width, 3), at least 75 x 75.
        weights: "imagenet" or "random".

    Returns:
        Features (n, height', width', 768), 7 x 7 for images of 150 x 150. Each block ends with a layer "mixed0" ... "mixed7".
    """
    x = keras.layers.Rescaling(1 / 127.5, offset=-1.0, name="stem_rescale")(image)
    path = str(find_weights("inception_v3")) if weights == "imagenet" else None
    return keras.applications.InceptionV3(include_top=False, weights=path, input_tensor=x).get_layer("mixed7").output
