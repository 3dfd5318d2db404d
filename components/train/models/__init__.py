"""The architectures, one module each.

A module has `build_backbone(image_size, **options)`, which returns a Keras model from raw 0-255 RGB to its last feature map. The head
that all candidates share is added in `components.train.network`. Adding an architecture is a module here and a row in
`ARCHITECTURES`; the row names the options and their defaults, so that a recipe is checked without importing Keras.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from components.common.errors import PawflowError
from components.common.recipe import Candidate, Mode


@dataclass(frozen=True)
class Architecture:
    """One row of the table.

    Attributes:
        module: Where it is built.
        modes: Training modes that make sense for it.
        options: What a recipe may set, with the defaults.
    """

    module: str
    modes: frozenset[Mode]
    options: Mapping[str, Any] = field(default_factory=dict)


ARCHITECTURES = {
    "simple_cnn": Architecture(
        "components.train.models.simple_cnn",
        modes=frozenset({"scratch"}),
        options={"filters": [16, 32, 64, 96], "activation": "relu", "downsample": 1},
    ),
    "efficientnet_lite0": Architecture(
        "components.train.models.efficientnet_lite0",
        modes=frozenset({"frozen", "fine_tune"}),
        options={"weights": "imagenet"},
    ),
}


def check_candidate(candidate: Candidate) -> None:
    """Check what a recipe cannot check alone: that the architecture exists and takes the mode and the options.

    Raises:
        PawflowError: It does not; the message lists what is known.
    """
    where = f"candidate {candidate.name!r}"
    if candidate.architecture not in ARCHITECTURES:
        raise PawflowError(f"{where} names the architecture {candidate.architecture!r}; known ones: {', '.join(ARCHITECTURES)}")
    architecture = ARCHITECTURES[candidate.architecture]
    if candidate.mode not in architecture.modes:
        raise PawflowError(
            f"{where} trains {candidate.architecture} in mode {candidate.mode!r}; it has {', '.join(sorted(architecture.modes))}"
        )
    for name, value in candidate.options.items():
        if name not in architecture.options:
            raise PawflowError(f"{where} sets the option {name!r}; {candidate.architecture} has {', '.join(architecture.options)}")
        default = architecture.options[name]
        if not isinstance(value, int if type(default) is int else (int, float) if type(default) is float else type(default)):
            raise PawflowError(f"{where} sets {name} to {value!r}; expected a {type(default).__name__} such as {default!r}")


def resolve_options(candidate: Candidate) -> dict[str, Any]:
    """The options of a candidate, defaults included."""
    return {**ARCHITECTURES[candidate.architecture].options, **candidate.options}


def build_backbone(candidate: Candidate, image_size: int) -> Any:
    """Build a candidate's network up to its last feature map.

    Returns:
        A Keras model: float32 raw 0-255 RGB (n, image_size, image_size, 3) to features (n, height, width, channels).
    """
    module = importlib.import_module(ARCHITECTURES[candidate.architecture].module)
    return module.build_backbone(image_size, **resolve_options(candidate))
