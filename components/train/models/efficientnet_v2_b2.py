"""EfficientNetV2-B2 without its classifier.

In: raw RGB pixels, 0-255. Out: the last feature map, 1408 channels.

Architecture and weights: Tan and Le, "EfficientNetV2: Smaller Models and Faster Training" (2021), by way of Keras Applications.
"""

from __future__ import annotations

from typing import Any

import keras

from components.train.weights import find_weights

#: Of the photos in ImageNet, red, green and blue, for pixels from 0 to 1.
_MEAN = (0.485, 0.456, 0.406)
_DEVIATION = (0.229, 0.224, 0.225)


def build_features(image: Any, *, weights: str) -> Any:
    """Add the network up to its last feature map.

    Args:
        image: Raw RGB, 0-255, (n, height, width, 3), at least 32 x 32. The weights were trained at 260; other sizes work too.
        weights: "imagenet" or "random".

    Returns:
        Features (n, ceil(height / 32), ceil(width / 32), 1408). The layers are named "stem_*", "block1a_*" ... "block6h_*", "top_*".
    """
    # The layers that Keras would put in for this have weights of their own, which its exporter to ONNX leaves without values.
    scale = [1 / (255 * deviation) for deviation in _DEVIATION]
    offset = [-mean / deviation for mean, deviation in zip(_MEAN, _DEVIATION, strict=True)]
    x = keras.layers.Rescaling(scale, offset=offset, name="stem_rescale")(image)
    path = str(find_weights("efficientnet_v2_b2")) if weights == "imagenet" else None
    return keras.applications.EfficientNetV2B2(include_top=False, weights=path, input_tensor=x, include_preprocessing=False).output
