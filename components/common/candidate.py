"""A candidate: one network and how it is trained, as one entry of a recipe; or, with a grid, a family of them.

In: an entry of a recipe's `candidates`. Out: `Candidate`s whose every field has been checked.
"""

from __future__ import annotations

import copy
import itertools
import re
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, model_validator

#: In a candidate's folder where it is `frozen`: what heads that had not seen an image say of it; a row for each image of every split.
OUT_OF_FOLD = "out_of_fold.parquet"

Mode = Literal["scratch", "frozen", "fine_tune"]
Backend = Literal["tensorflow", "torch"]
Optimizer = Literal["adam", "adamw", "sgd", "rmsprop", "muon"]
Schedule = Literal["constant", "cosine", "step_decay", "one_cycle"]
Monitor = Literal["val_loss", "val_accuracy", "loss", "accuracy"]


class Strict(BaseModel):
    """Base of everything in a recipe: frozen, no unknown field, no value of a wrong type that is quietly converted."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Target(Strict):
    """A value of a training metric that is good enough."""

    metric: Monitor = Field(default="val_accuracy", description="which")
    value: float = Field(ge=0, description="from which training ends")

    @model_validator(mode="after")
    def _can_be_reached(self) -> Target:
        if self.metric.endswith("accuracy") and self.value > 1:
            raise ValueError(f"no network reaches the {self.metric} {self.value:g}; it is a share, such as 0.95")
        return self


class Candidate(Strict):
    """One network and how it is trained."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_.-]*$", description="of the candidate, and of its run in MLflow")
    architecture: str = Field(description="the network; components/train/README.md lists them")
    mode: Mode = Field(
        description="`frozen`: only a head is fitted; `fine_tune`: head, then the last layers; `scratch`: all layers, from nothing"
    )
    options: dict[str, Any] = Field(default_factory=dict, description="of the architecture; see components/train/models")
    input_size: int | None = Field(default=None, ge=16, le=1024, description="pixels; the network resizes to this side before all else")
    augment: bool = Field(default=True, description="train on varied images too: `frozen` on the stored views, others on the fly")
    dropout: float = Field(default=0.2, ge=0, lt=1, description="share of the features hidden from the head while training")
    flip_tta: bool = Field(
        default=False,
        description="test-time augmentation: answer with the mean over an image and its mirror image, in twice the time (not in training)",
    )

    classifier: Literal["logistic", "ridge"] = Field(default="logistic", description="`frozen`: what is fitted to the features")

    int8: bool = Field(
        default=False, description="also write model.int8.onnx; `frozen` then computes the features with it and fits the head to those"
    )

    backend: Backend = Field(default="tensorflow", description="of Keras, for gradient training; `torch` needs `make torch`")
    epochs: int = Field(default=20, ge=1, description="`scratch`: all epochs; `fine_tune`: those after unfreezing")
    head_epochs: int = Field(default=3, ge=1, description="`fine_tune`: epochs in which only the head learns")
    unfreeze: str | int | None = Field(
        default=None,
        description="`fine_tune`: prefix of the first layer that learns after the head, or the number of last layers; "
        "by default the architecture's last block",
    )
    batch_size: int = Field(default=32, ge=1, description="images of one step of the optimiser")
    optimizer: Optimizer = Field(
        default="adam",
        description="`sgd` has Nesterov momentum 0.9; `adamw` needs `weight_decay`; `muon` is for convolutions, all else learns by `adam`",
    )
    learning_rate: float = Field(default=1e-3, gt=0, description="of the whole network, or of the head before unfreezing")
    fine_tune_rate: float = Field(default=1e-4, gt=0, description="`fine_tune`: learning rate after unfreezing")
    schedule: Schedule = Field(default="cosine", description="of the rate; `step_decay`: x 0.1 every 5 epochs; `one_cycle`: up, then down")
    weight_decay: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="decoupled from the gradient; of no biases and no normalisation, and with `muon` of convolutions only",
    )
    label_smoothing: float = Field(default=0.0, ge=0, lt=1, description="share of each training label that all classes share")
    ema: float = Field(default=0.0, ge=0, lt=1, description="momentum of an average of the weights that takes their place; 0 for none")
    precision: Literal["float32", "mixed_float16", "mixed_bfloat16"] = Field(
        default="float32", description="of gradient training; what is saved is always float32"
    )
    jit_compile: bool = Field(default=False, description="compile the training step with XLA")
    monitor: Monitor = Field(default="val_loss", description="what decides on the best epoch and on stopping early")
    patience: int = Field(
        default=4, ge=1, description="epochs without a better `monitor` before training stops; all, where a falling rate is to come down"
    )
    stop_at: Target | None = Field(default=None, description="ends training once reached")

    @property
    def reads_views(self) -> bool:
        """Whether it trains on the stored variants of the training images."""
        return self.mode == "frozen" and self.augment

    @model_validator(mode="after")
    def _sets_nothing_in_vain(self) -> Candidate:
        for name, field in type(self).model_fields.items():
            value = getattr(self, name)
            if value != field.default and self.mode not in modes_of(name):
                useful = " or ".join(modes_of(name))
                raise ValueError(f"{name} is {value}, but does nothing in mode {self.mode}; leave it out, or set mode: {useful}")
        if self.optimizer == "adamw" and not self.weight_decay:
            raise ValueError("optimizer is adamw, which without weight_decay is adam; set weight_decay, such as 0.01, or optimizer: adam")
        return self


_GRADIENTS: tuple[Mode, ...] = ("scratch", "fine_tune")
_MODES: dict[str, tuple[Mode, ...]] = {
    **dict.fromkeys(("backend", "epochs", "batch_size", "dropout", "optimizer", "learning_rate", "schedule", "weight_decay"), _GRADIENTS),
    **dict.fromkeys(("label_smoothing", "ema", "precision", "jit_compile", "monitor", "patience", "stop_at"), _GRADIENTS),
    **dict.fromkeys(("head_epochs", "unfreeze", "fine_tune_rate"), ("fine_tune",)),
    "classifier": ("frozen",),
}


def modes_of(name: str) -> tuple[Mode, ...]:
    """Modes in which the field of that name of a `Candidate` changes anything."""
    return _MODES.get(name, get_args(Mode))


def expand_grid(entry: dict[str, Any]) -> list[dict[str, Any]]:
    """Turn an entry with `grid`, a mapping from a field's dotted path to its values, into one entry for each combination.

    Each is named after the entry and its values: `cnn` with `learning_rate: [0.1, 0.01]` gives `cnn-0.1` and `cnn-0.01`.

    Raises:
        ValueError: The grid is not such a mapping, a path leads through what has no fields, or the entry has no name.
    """
    grid = entry.get("grid")
    if grid is None:
        return [entry]
    if not isinstance(grid, dict) or not grid or not all(isinstance(values, list) and values for values in grid.values()):
        raise ValueError(f"grid is {grid!r}, expected a list of values for each field, such as {{learning_rate: [0.01, 0.001]}}")
    if entry.get("name") in (None, ""):
        raise ValueError(f"a candidate with the grid {grid!r} has no name; add one, for the names of its combinations to begin with")
    expanded = []
    for values in itertools.product(*grid.values()):
        one = copy.deepcopy({key: value for key, value in entry.items() if key != "grid"})
        for path, value in zip(grid, values, strict=True):
            _set_field(one, path, value)
        one["name"] = "-".join([str(entry["name"]), *(_name_value(value) for value in values)])
        expanded.append(one)
    return expanded


def _set_field(entry: dict[str, Any], path: str, value: object) -> None:
    *parents, last = str(path).split(".")
    target = entry
    try:
        for parent in parents:
            target = target.setdefault(parent, {})
        target[last] = value
    except (AttributeError, TypeError) as error:
        raise ValueError(f"grid names {path!r}, but {'.'.join(parents)} has no fields; an example: options.activation") from error


def _name_value(value: object) -> str:
    sign = "-" if isinstance(value, int | float) and value < 0 else ""
    return sign + re.sub(r"[^a-z0-9_.]+", "_", str(value).lower()).strip("_.")
