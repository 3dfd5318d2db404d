"""What a recipe may set for each architecture: names, types, limits and defaults, checked without importing Keras."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from components.common.candidate import Strict

Activation = Literal["relu", "leaky_relu", "tanh", "swish"]
Initializer = Literal["glorot_uniform", "glorot_normal", "he_uniform", "he_normal", "lecun_uniform", "lecun_normal"]
PretrainedName = Literal[
    "efficientnet_lite0",
    "efficientnet_lite1",
    "efficientnet_lite2",
    "efficientnet_v2_b2",
    "inception_resnet_v2",
    "inception_v3_mixed7",
    "vgg16",
]


class Convolutions(Strict):
    """What plain convolutional networks have in common."""

    activation: Activation = Field(default="relu", description="after each convolution and dense layer")
    kernel_initializer: Initializer = Field(default="glorot_uniform", description="from what the first weights are drawn")
    bias_initializer: float = Field(default=0.0, description="every bias starts at this number")
    batch_norm: bool = Field(default=True, description="after each convolution")
    dropout: float = Field(default=0.0, ge=0, lt=1, description="share of the values hidden after each pooling while training")


class SimpleCnn(Convolutions):
    """Options of `simple_cnn`."""

    conv_layers: int = Field(default=4, ge=1, le=8, description="convolutions, each with pooling behind it")
    layer_size: int = Field(default=16, ge=1, le=1024, description="channels of the first convolution, and units of each dense layer")
    growth: float = Field(default=2.0, ge=1, le=4, description="each convolution has so many times the channels of the one before")
    dense_layers: int = Field(default=0, ge=0, le=8, description="before the head, at every position")
    grayscale: bool = Field(default=False, description="drop the colours first")


class ConvBlocks(Convolutions):
    """Options of `conv_blocks`."""

    layer_size: int = Field(default=32, ge=1, le=512, description="channels of the first block; the second has twice, the third four times")


#: Channels of a whitening stem: 2 x 2 pixels of three colours have twelve components, each in both signs.
WHITENING_CHANNELS = 24


class FastResnet(Strict):
    """Options of `fast_resnet`."""

    stem: Literal["convolution", "whitening"] = Field(
        default="convolution", description="learned with the rest, or fixed: the components of 2 x 2 pixels of the training images"
    )
    widths: list[Annotated[int, Field(ge=1)]] = Field(
        default=[32, 64, 128, 256], min_length=2, description="channels of the stem and of each stage"
    )
    depth: int = Field(default=1, ge=0, le=8, description="convolutions of each stage after the one that widens it")
    residual: bool = Field(default=True, description="add what came into those convolutions to what comes out")
    patch: int = Field(default=1, ge=1, le=16, description="side of the square of pixels that the stem makes one position of")
    activation: Activation = Field(default="swish", description="after each convolution")
    scale: float = Field(default=1.0, gt=0, description="factor of the features before the head; less than 1 calms large learning rates")

    @model_validator(mode="after")
    def _fits_the_stem(self) -> Self:
        if self.stem == "whitening" and (self.widths[0], self.patch) != (WHITENING_CHANNELS, 1):
            raise ValueError(f"a whitening stem has {WHITENING_CHANNELS} channels and patch 1, not {self.widths[0]} and {self.patch}")
        return self


class Pretrained(Strict):
    """Options of a network that has pretrained weights; training mode `scratch` implies `random`."""

    weights: Literal["imagenet", "random"] = Field(default="imagenet", description="what training starts from")


class Concatenation(Pretrained):
    """Options of `concatenation`."""

    of: list[PretrainedName] = Field(
        default=["efficientnet_lite0", "efficientnet_lite2"], min_length=2, description="the networks, side by side"
    )

    @field_validator("of")
    @classmethod
    def _has_no_doubles(cls, names: list[str]) -> list[str]:
        if len(set(names)) < len(names):
            raise ValueError("each network may occur once")
        return names
