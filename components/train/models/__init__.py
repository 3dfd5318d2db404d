"""The architectures, by name.

A module has `build_features(image, **options)`, which takes a float32 tensor of raw 0-255 RGB (n, height, width, 3) and returns the last
feature map (n, height', width', channels), all in one flat graph. One whose first weights depend on the training images also has
`initialize(network, batches)`. The input and the head that all candidates share are added in `components.train.network`. Adding an
architecture is a module here, its options in `options.py` and a row in `ARCHITECTURES`; a recipe is checked against these without
importing Keras.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from components.common.candidate import Candidate, Mode, Strict
from components.common.errors import PawflowError, list_known
from components.common.validation import describe_validation_error
from components.train.models.options import Concatenation, ConvBlocks, FastResnet, Pretrained, SimpleCnn
from serving.images import Pixels

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True)
class Architecture:
    """One row of the table.

    Attributes:
        module: Where it is built, in this package.
        options: What a recipe may set.
        min_size: Side of the smallest image that it takes, in pixels.
        last_block: What the names of its last layers start with, from the first on that fine-tuning changes unless told otherwise.
        weights: Name of its pretrained weights in `weights.PUBLISHED`, if that is another.
        settings: Arguments that tell it from others of the same module.
    """

    module: str
    options: type[Strict]
    min_size: int = 1
    last_block: str = ""
    weights: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def modes(self) -> tuple[Mode, ...]:
        """Training modes that make sense for it."""
        return ("frozen", "fine_tune", "scratch") if issubclass(self.options, Pretrained) else ("scratch",)


ARCHITECTURES = {
    "simple_cnn": Architecture("simple_cnn", SimpleCnn),
    "conv_blocks": Architecture("conv_blocks", ConvBlocks),
    "fast_resnet": Architecture("fast_resnet", FastResnet),
    "efficientnet_lite0": Architecture("efficientnet_lite", Pretrained, min_size=32, last_block="block7", settings={"version": 0}),
    "efficientnet_lite1": Architecture("efficientnet_lite", Pretrained, min_size=32, last_block="block7", settings={"version": 1}),
    "efficientnet_lite2": Architecture("efficientnet_lite", Pretrained, min_size=32, last_block="block7", settings={"version": 2}),
    "efficientnet_v2_b2": Architecture("efficientnet_v2_b2", Pretrained, min_size=32, last_block="block6"),
    "inception_v3_mixed7": Architecture("inception_v3_mixed7", Pretrained, min_size=75, last_block="mixed6", weights="inception_v3"),
    "inception_resnet_v2": Architecture("inception_resnet_v2", Pretrained, min_size=75, last_block="mixed_7a"),
    "vgg16": Architecture("vgg16", Pretrained, min_size=32, last_block="block5"),
    "concatenation": Architecture("concatenation", Concatenation),
}


def check_candidate(candidate: Candidate, image_size: int) -> None:
    """Check what a recipe cannot check alone: that the architecture exists and takes the mode, the options and the size of the images.

    Args:
        candidate: An entry of a recipe.
        image_size: Side of the images in the dataset, in pixels.

    Raises:
        PawflowError: It does not; the message lists what is known.
    """
    where = f"candidate {candidate.name!r}"
    if candidate.architecture not in ARCHITECTURES:
        raise PawflowError(f"{where} names the architecture {candidate.architecture!r}{list_known(candidate.architecture, ARCHITECTURES)}")
    modes = ARCHITECTURES[candidate.architecture].modes
    if candidate.mode not in modes:
        raise PawflowError(f"{where} trains {candidate.architecture} in mode {candidate.mode!r}; it has {', '.join(modes)}")
    options = resolve_options(candidate)
    if candidate.mode == "scratch" and options.get("weights") == "imagenet":
        raise PawflowError(f"{where} starts from scratch and yet from the weights 'imagenet'; leave these out, or set mode: fine_tune")
    if candidate.mode == "frozen" and options["weights"] == "random":
        raise PawflowError(f"{where} fits a head to a network of random weights, which never learn in mode 'frozen'; set mode: scratch")
    for part in parts(candidate):
        size, min_size = candidate.input_size or image_size, ARCHITECTURES[part.architecture].min_size
        if size < min_size:
            raise PawflowError(
                f"{where} gets images of {size} x {size} pixels, and {part.architecture} takes {min_size} x {min_size} or more; "
                "set its input_size"
            )


def resolve_options(candidate: Candidate) -> dict[str, Any]:
    """The options of a candidate, defaults included.

    Raises:
        PawflowError: There is no such option, or it does not take that value.
    """
    model = ARCHITECTURES[candidate.architecture].options
    implied = {"weights": "random"} if candidate.mode == "scratch" and issubclass(model, Pretrained) else {}
    try:
        # By way of JSON, as the recipe itself: there strict means that no value is converted.
        return model.model_validate_json(json.dumps({**implied, **candidate.options})).model_dump()
    except ValidationError as error:
        wrong = describe_validation_error(error, model, "the options")
        raise PawflowError(f"candidate {candidate.name!r} has options that do not fit {candidate.architecture}:\n{wrong}") from error


def parts(candidate: Candidate) -> list[Candidate]:
    """The candidates whose pooled features, side by side in this order, are those of `candidate`: several for a concatenation."""
    if candidate.architecture != "concatenation":
        return [candidate]
    options = resolve_options(candidate)
    names = options.pop("of")
    return [candidate.model_copy(update={"architecture": name, "options": options}) for name in names]


def list_weights(candidate: Candidate) -> list[str]:
    """The files of pretrained weights that a candidate starts from, by their names in `weights.PUBLISHED`."""
    if resolve_options(candidate).get("weights") != "imagenet":
        return []
    return [ARCHITECTURES[part.architecture].weights or part.architecture for part in parts(candidate)]


def build_features(candidate: Candidate, image: Any) -> Any:
    """Add a candidate's layers, up to its last feature map.

    Args:
        candidate: Names the architecture and its options.
        image: KerasTensor of raw 0-255 RGB, (n, height, width, 3).

    Returns:
        KerasTensor of features, (n, height', width', channels).

    Raises:
        PawflowError: Pretrained weights are missing or damaged.
    """
    return add_architecture(candidate.architecture, image, resolve_options(candidate))


def initialize(network: keras.Model, candidate: Candidate, batches: Iterable[Pixels]) -> None:
    """Set those first weights of a candidate's network that depend on the training images, if it has any.

    Args:
        network: As built, untrained.
        candidate: In mode `scratch`.
        batches: Some training images, uint8 RGB, (n, height, width, 3) each; read only if they are needed.
    """
    module = importlib.import_module(f"{__name__}.{ARCHITECTURES[candidate.architecture].module}")
    if hasattr(module, "initialize"):
        module.initialize(network, batches)


def add_architecture(name: str, image: Any, options: Mapping[str, Any]) -> Any:
    """Add the layers of the architecture called `name`, all its options given."""
    architecture = ARCHITECTURES[name]
    return importlib.import_module(f"{__name__}.{architecture.module}").build_features(image, **architecture.settings, **options)
