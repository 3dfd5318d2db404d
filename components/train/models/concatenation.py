"""Several pretrained networks side by side: what one misses, another may see.

In: raw RGB pixels, 0-255. Out: the last feature maps of all, joined along the channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from components.common.errors import PawflowError
from components.train.models import add_architecture


def build_features(image: Any, *, of: Sequence[str], weights: str) -> Any:
    """Add the networks up to their last feature maps, and join these.

    Args:
        image: Raw RGB, 0-255, (n, size, size, 3).
        of: Names of the architectures.
        weights: "imagenet" or "random", for all of them.

    Returns:
        Features (n, h, h, sum of channels), in the order of `of`, on the finest grid among them. The layers keep their names, with the
        name of the architecture behind: "block7a_project_conv_efficientnet_lite0".

    Raises:
        PawflowError: A coarse grid does not fit into the finest a whole number of times.
    """
    features = {name: _add_part(image, name, weights) for name in of}
    finest = max(part.shape[1] for part in features.values())
    aligned = []
    for name, part in features.items():
        factor, rest = divmod(finest, part.shape[1])
        if rest:
            grids = ", ".join(f"{other} {x.shape[1]} x {x.shape[2]}" for other, x in features.items())
            raise PawflowError(
                f"feature maps can be joined if the finest grid is a multiple of the others; at {image.shape[1]} pixels they have {grids}; "
                "choose another input_size or other networks"
            )
        # Repeating every value as often as any other leaves the average as it was, which interpolation would not.
        aligned.append(keras.layers.UpSampling2D(factor, name=f"upsample_{name}")(part) if factor > 1 else part)
    return keras.layers.Concatenate(name="side_by_side")(aligned)


def _add_part(image: Any, name: str, weights: str) -> Any:
    """Add one network, its layers renamed: a graph may have each name once."""
    source = keras.utils.get_source_inputs(image)
    before = {id(layer) for layer in keras.Model(source, image).layers}
    features = add_architecture(name, image, {"weights": weights})
    for layer in keras.Model(source, features).layers:
        if id(layer) not in before:
            layer.name = f"{layer.name}_{name}"
    return features
