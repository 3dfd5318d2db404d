"""The head that all candidates share, and the two ends of a network: class probabilities and class-activation maps.

The head is a dense layer applied at every position of the last feature map, then averaged. That equals global average pooling
followed by the same dense layer, and its output before averaging is, exactly, the class-activation map of Zhou et al., "Learning Deep
Features for Discriminative Localization" (2016).
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from components.common.candidate import Candidate
from components.train.models import build_features

HEAD = "class_activation"
OUTPUTS = ("probabilities", HEAD)

Floats = NDArray[np.floating]


def build_network(candidate: Candidate, image_size: int, num_classes: int) -> keras.Model:
    """Build a candidate as one flat graph: raw 0-255 RGB (n, image_size, image_size, 3) to probabilities (n, num_classes).

    Raises:
        PawflowError: The image is too small for the architecture, or pretrained weights are missing or damaged.
    """
    image = keras.Input((image_size, image_size, 3), name="image")
    resized = _resize(image, candidate.input_size or image_size)
    features = _average_with_mirrored(candidate, resized) if candidate.flip_tta else build_features(candidate, resized)
    # Dropping whole channels before averaging is dropping single features after it.
    features = keras.layers.SpatialDropout2D(candidate.dropout, name="dropout")(features)
    # In float32 whatever the precision of the rest: a probability near 1 has no more than two digits in 16 bits.
    activation = keras.layers.Dense(num_classes, name=HEAD, dtype="float32")(features)
    logits = keras.layers.GlobalAveragePooling2D(name="logits", dtype="float32")(activation)
    probabilities = keras.layers.Softmax(name="probabilities", dtype="float32")(logits)
    return keras.Model(image, probabilities, name=candidate.architecture)


def _resize(image: Any, size: int) -> Any:
    """Change the side of square images: by averaging where the factor is whole, which uses every pixel; else bilinearly."""
    factor, rest = divmod(image.shape[1], size)
    if rest or not factor:
        # The layer Resizing would do the same, but it makes every layer after it believe that it is training, in the ONNX export too.
        return keras.ops.image.resize(image, (size, size), interpolation="bilinear")
    return keras.layers.AveragePooling2D(factor, name="resize")(image) if factor > 1 else image


def _average_with_mirrored(candidate: Candidate, image: Any) -> Any:
    """Features averaged with those of the mirror image, turned back; the head is linear, so what enters the softmax is averaged too."""
    both = build_features(candidate, keras.ops.concatenate([image, keras.ops.flip(image, axis=2)], axis=0))
    both = keras.ops.reshape(both, (2, -1, *both.shape[1:]))
    return (both[0] + keras.ops.flip(both[1], axis=2)) / 2


def with_class_activation(network: keras.Model) -> keras.Model:
    """The same network with both outputs of `OUTPUTS`; the second has shape (n, height, width, num_classes)."""
    return keras.Model(network.input, [network.output, network.get_layer(HEAD).output])


def pooled_features(network: keras.Model) -> keras.Model:
    """The same network up to its pooled features, shape (n, channels), which a head fitted elsewhere needs."""
    features = network.get_layer("dropout").input
    return keras.Model(network.input, keras.layers.GlobalAveragePooling2D(name="features")(features))


def divide_head(network: keras.Model, temperature: float) -> None:
    """Divide what enters the softmax by `temperature`, by dividing the head's weights and bias: no layer is added, and maps stay exact."""
    weights, bias = network.get_layer(HEAD).get_weights()
    set_head(network, weights / temperature, bias / temperature)


def set_head(network: keras.Model, weights: Floats, bias: Floats) -> None:
    """Fold a linear classifier of the pooled features into the network: weights (channels, num_classes), bias (num_classes,)."""
    network.get_layer(HEAD).set_weights([weights.astype(np.float32), bias.astype(np.float32)])
