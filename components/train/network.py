"""The head that all candidates share, and the two ends of a network: class probabilities and class-activation maps.

The head is a dense layer applied at every position of the last feature map, then averaged. That equals global average pooling
followed by the same dense layer, and its output before averaging is, exactly, the class-activation map of Zhou et al., "Learning Deep
Features for Discriminative Localization" (2016).
"""

from __future__ import annotations

import keras
import numpy as np
from numpy.typing import NDArray

from components.common.recipe import Candidate
from components.train.models import build_backbone

HEAD = "class_activation"
OUTPUTS = ("probabilities", HEAD)

Floats = NDArray[np.floating]


def build_network(candidate: Candidate, image_size: int, num_classes: int) -> keras.Model:
    """Build a candidate: raw 0-255 RGB (n, image_size, image_size, 3) to probabilities (n, num_classes)."""
    backbone = build_backbone(candidate, image_size)
    # Dropping whole channels before averaging is dropping single features after it.
    features = keras.layers.SpatialDropout2D(candidate.dropout, name="dropout")(backbone.output)
    activation = keras.layers.Dense(num_classes, name=HEAD)(features)
    logits = keras.layers.GlobalAveragePooling2D(name="logits")(activation)
    return keras.Model(backbone.input, keras.layers.Softmax(name="probabilities")(logits), name=candidate.architecture)


def with_class_activation(network: keras.Model) -> keras.Model:
    """The same network with both outputs of `OUTPUTS`; the second has shape (n, height, width, num_classes)."""
    return keras.Model(network.input, [network.output, network.get_layer(HEAD).output])


def pooled_features(network: keras.Model) -> keras.Model:
    """The same network up to its pooled features, shape (n, channels), which a head fitted elsewhere needs."""
    features = network.get_layer("dropout").input
    return keras.Model(network.input, keras.layers.GlobalAveragePooling2D(name="features")(features))


def set_head(network: keras.Model, weights: Floats, bias: Floats) -> None:
    """Fold a linear classifier of the pooled features into the network: weights (channels, num_classes), bias (num_classes,)."""
    network.get_layer(HEAD).set_weights([weights.astype(np.float32), bias.astype(np.float32)])
