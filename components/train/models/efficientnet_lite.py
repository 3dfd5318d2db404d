"""EfficientNet-Lite0, Lite1 and Lite2 without their classifier: the networks whose features the transfer-learning recipes build on.

In: raw RGB pixels, 0-255. Out: the last feature map, 1280 channels. Why they exist: Keras has no Lite variant, and the Lite ones (no
squeeze-and-excite, ReLU6 for swish) are those that run fast on a plain CPU, in ONNX as in Keras.

Architecture: Tan and Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks" (2019), with the changes of
tensorflow/tpu, `models/official/efficientnet/lite`. The weights are that repository's, by way of PyTorch: see `weights.py`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np

from components.common.errors import PawflowError
from components.train.torch_file import read_torch_file
from components.train.weights import find_weights

#: Factors of the channels and of the blocks, by version.
_SCALES = {0: (1.0, 1.0), 1: (1.0, 1.1), 2: (1.1, 1.2)}

# Neither of these grows with the version.
_STEM_CHANNELS = 32
_FEATURE_CHANNELS = 1280
_EPSILON = 1e-3


class _Stage(NamedTuple):
    kernel_size: int
    num_blocks: int
    stride: int
    expansion: int
    num_channels: int


# Of version 0. Stage n holds the blocks "block{n}a", "block{n}b", ...; only the first of them strides.
_STAGES = (
    _Stage(kernel_size=3, num_blocks=1, stride=1, expansion=1, num_channels=16),
    _Stage(kernel_size=3, num_blocks=2, stride=2, expansion=6, num_channels=24),
    _Stage(kernel_size=5, num_blocks=2, stride=2, expansion=6, num_channels=40),
    _Stage(kernel_size=3, num_blocks=3, stride=2, expansion=6, num_channels=80),
    _Stage(kernel_size=5, num_blocks=3, stride=1, expansion=6, num_channels=112),
    _Stage(kernel_size=5, num_blocks=4, stride=2, expansion=6, num_channels=192),
    _Stage(kernel_size=3, num_blocks=1, stride=1, expansion=6, num_channels=320),
)

# The parts of a layer in PyTorch, in the order of the layer's weights in Keras, and how each one's axes are reordered.
_CONVOLUTION_PARTS = (("weight", (2, 3, 1, 0)),)
_DEPTHWISE_PARTS = (("weight", (2, 3, 0, 1)),)
_NORMALIZATION_PARTS = (("weight", (0,)), ("bias", (0,)), ("running_mean", (0,)), ("running_var", (0,)))
# The classifier over the 1000 ImageNet classes, and counters that only training in PyTorch reads.
_UNUSED_PARTS = ("_fc.weight", "_fc.bias", "num_batches_tracked")


def build_features(image: Any, *, version: int, weights: str) -> Any:
    """Add the network up to its last feature map.

    Args:
        image: Raw RGB, 0-255, (n, size, size, 3), size at least 32. The weights were trained at 224, 240 and 260; other sizes work too.
        version: 0, 1 or 2.
        weights: "imagenet" for the pretrained weights, "random" for none.

    Returns:
        Features (n, h, h, 1280) with h = ceil(size / 32). The layers are named "stem_*", "block1a_*" ... "block7a_*", "top_*".

    Raises:
        PawflowError: The pretrained weights are missing or damaged.
    """
    blocks = list(_blocks(*_SCALES[version]))
    x = keras.layers.Rescaling(1 / 128, offset=-127 / 128, name="stem_rescale")(image)
    x = keras.layers.Conv2D(_STEM_CHANNELS, 3, strides=2, padding="same", use_bias=False, name="stem_conv")(x)
    x = _normalize(x, "stem")
    for name, stage, is_first in blocks:
        x = _inverted_residual(x, name, stage, stride=stage.stride if is_first else 1)
    x = keras.layers.Conv2D(_FEATURE_CHANNELS, 1, use_bias=False, name="top_conv")(x)
    x = _normalize(x, "top")

    if weights == "imagenet":
        state_dict = read_torch_file(find_weights(f"efficientnet_lite{version}"))
        _assign(keras.Model(keras.utils.get_source_inputs(image), x), state_dict, blocks)
    return x


def _blocks(width: float, depth: float) -> Iterator[tuple[str, _Stage, bool]]:
    for number, stage in enumerate(_STAGES, start=1):
        num_blocks = stage.num_blocks if number in (1, len(_STAGES)) else math.ceil(stage.num_blocks * depth)
        # To the nearest multiple of 8, which vector instructions like; no version comes below 0.9 of the exact number.
        num_channels = int(stage.num_channels * width + 4) // 8 * 8
        for index in range(num_blocks):
            yield f"block{number}{'abcde'[index]}", stage._replace(num_channels=num_channels), index == 0


def _inverted_residual(x: Any, name: str, stage: _Stage, stride: int) -> Any:
    """The block of Sandler et al., "MobileNetV2" (2018): widen, filter each channel by itself, narrow, add what came in."""
    came_in = x
    if stage.expansion > 1:
        x = keras.layers.Conv2D(x.shape[-1] * stage.expansion, 1, use_bias=False, name=f"{name}_expand_conv")(x)
        x = _normalize(x, f"{name}_expand")
    depthwise = keras.layers.DepthwiseConv2D(
        stage.kernel_size, strides=stride, padding="same", use_bias=False, name=f"{name}_depthwise_conv"
    )
    x = _normalize(depthwise(x), f"{name}_depthwise")
    x = keras.layers.Conv2D(stage.num_channels, 1, use_bias=False, name=f"{name}_project_conv")(x)
    x = keras.layers.BatchNormalization(epsilon=_EPSILON, name=f"{name}_project_bn")(x)
    if came_in.shape != x.shape:
        return x
    return keras.layers.Add(name=f"{name}_add")([x, came_in])


def _normalize(x: Any, name: str) -> Any:
    x = keras.layers.BatchNormalization(epsilon=_EPSILON, name=f"{name}_bn")(x)
    return keras.layers.ReLU(max_value=6.0, name=f"{name}_relu6")(x)


def _layers_in_torch(blocks: Sequence[tuple[str, _Stage, bool]]) -> Iterator[tuple[str, str, tuple[tuple[str, tuple[int, ...]], ...]]]:
    """Yield every layer that has weights: its name in Keras, its name in PyTorch, its parts."""
    yield "stem_conv", "_conv_stem", _CONVOLUTION_PARTS
    yield "stem_bn", "_bn0", _NORMALIZATION_PARTS
    for index, (name, stage, _) in enumerate(blocks):
        if stage.expansion > 1:
            yield f"{name}_expand_conv", f"_blocks.{index}._expand_conv", _CONVOLUTION_PARTS
            yield f"{name}_expand_bn", f"_blocks.{index}._bn0", _NORMALIZATION_PARTS
        yield f"{name}_depthwise_conv", f"_blocks.{index}._depthwise_conv", _DEPTHWISE_PARTS
        yield f"{name}_depthwise_bn", f"_blocks.{index}._bn1", _NORMALIZATION_PARTS
        yield f"{name}_project_conv", f"_blocks.{index}._project_conv", _CONVOLUTION_PARTS
        yield f"{name}_project_bn", f"_blocks.{index}._bn2", _NORMALIZATION_PARTS
    yield "top_conv", "_conv_head", _CONVOLUTION_PARTS
    yield "top_bn", "_bn1", _NORMALIZATION_PARTS


def _assign(model: keras.Model, state_dict: dict[str, np.ndarray], blocks: Sequence[tuple[str, _Stage, bool]]) -> None:
    """Copy the weights of PyTorch into `model`; raise PawflowError unless each is used once, in its shape, and none is missing."""
    unused = {name: array for name, array in state_dict.items() if not name.endswith(_UNUSED_PARTS)}
    num_assigned = 0
    for layer_name, torch_name, parts in _layers_in_torch(blocks):
        for variable, (part, axes) in zip(model.get_layer(layer_name).weights, parts, strict=True):
            array = unused.pop(f"{torch_name}.{part}", None)
            if array is None or array.ndim != len(axes) or array.transpose(axes).shape != tuple(variable.shape):
                found = "is missing" if array is None else f"has the shape {array.shape}"
                raise PawflowError(f"The weights {torch_name}.{part} {found}; {variable.path} needs {tuple(variable.shape)}, axes {axes}")
            variable.assign(array.transpose(axes))
            num_assigned += 1
    if unused or num_assigned != len(model.weights):
        raise PawflowError(
            f"The weights do not fit the network: {num_assigned} of {len(model.weights)} were found, "
            f"{len(unused)} have no place in it: {', '.join(sorted(unused)[:5])}"
        )
