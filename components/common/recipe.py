"""The recipe: everything that defines an experiment, as one frozen value.

In: a YAML file, a recipe name's file or a JSON string, plus `key=value` overrides. Out: a `Recipe`, whose every field has been
checked before any work starts. Steps receive it as one JSON string, because Kubeflow turns integers inside dictionaries into floats.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, ValidationError, model_validator

from components.common.candidate import Candidate, Strict, expand_grid, modes_of
from components.common.errors import PawflowError
from components.common.validation import describe_validation_error
from components.common.yaml_text import parse, parse_mapping, read_file

Metric = Literal[
    "accuracy", "balanced_accuracy", "precision", "recall", "f1", "roc_auc", "pr_auc", "log_loss", "brier", "calibration_error"
]
Weights = Literal["none", "class", "source"]

#: Metrics of which less is better; every other one is better when larger.
LOWER_IS_BETTER = frozenset({"log_loss", "brier", "calibration_error"})


def _expand(path: Path) -> Path:
    try:
        return path.expanduser()
    except RuntimeError as error:
        raise ValueError(f"{error}; write the path out") from error


#: A path in which `~` is the user's home, as on a command line.
UserPath = Annotated[Path, AfterValidator(_expand)]


class Place(Strict):
    """Where an archive can be had; which of the fields a provider needs or takes, components/download/sources says."""

    provider: str = Field(description="who serves it; components/download/README.md lists them")
    url: str | None = Field(default=None, description="`http`: of the archive; `s3`: s3://bucket/archive.zip or s3://bucket/prefix/")
    sha256: str | None = Field(
        default=None,
        pattern=r"^[0-9a-f]{64}$",
        description="of the archive; `http` needs it; `s3`, `local` and `sources.root` check one that is given",
    )
    endpoint: str | None = Field(default=None, description="`s3`: address of the service; by default AWS_ENDPOINT_URL_S3, else Amazon's")
    competition: str | None = Field(default=None, description="`kaggle`: its name in the address; by default the source's name")
    path: UserPath | None = Field(default=None, description="`folder`: of the images")
    num_images: int = Field(default=600, ge=24, description="`sample`: drawings to make; `sources.limit` uses fewer images of any source")


class Source(Place):
    """One archive of images: where it comes from and how it is laid out inside."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$", description="of the source; an archive of yours is named like it")
    layout: str = Field(default="class_folders", description="how labels are found in it; components/fuse/README.md lists them")
    fallbacks: tuple[Place, ...] = Field(default=(), description="other places of the same archive, tried in this order")
    labels: dict[str, str] | None = Field(default=None, description="label in the archive -> class; labels left out are not used")


class Sources(Strict):
    """Where images come from."""

    root: UserPath | None = Field(
        default=None, description="folder that holds <name>.zip (or .tar.gz, or a folder) for every source; replaces the providers"
    )
    limit: int | None = Field(default=None, ge=24, description="use at most this many images of each source, chosen by hash")
    fewest_per_class: int = Field(default=1, ge=1, description="images of a class that `limit` leaves, even if that is more in all")
    previous: UserPath | None = Field(default=None, description="folder of an earlier dataset, whose images keep their splits")
    archives: tuple[Source, ...] = Field(min_length=1, description="the sources; their images are fused into one dataset")

    @model_validator(mode="after")
    def _names_are_unique(self) -> Sources:
        _require_unique("source", [source.name for source in self.archives])
        return self


class Split(Strict):
    """Shares of the groups that go to validation and test; training gets the rest."""

    validation: float = Field(default=0.15, gt=0, lt=0.5, description="share that chooses: the winner, the best epoch, the temperature")
    test: float = Field(default=0.15, gt=0, lt=0.5, description="share that judges, and that nothing is chosen by")


class Augment(Strict):
    """How training images are varied: v means a random amount from -v to v (`rotate` to `saturation`), or from 0 to v (`crop`)."""

    views: int = Field(default=1, ge=0, le=16, description="variants of each training image, stored where a `frozen` candidate reads them")
    flip: bool = Field(default=True, description="mirror half of them, the next time the others; not where left and right differ")
    rotate: float = Field(default=0.0, ge=0, le=180, description="degrees")
    crop: float = Field(default=0.0, ge=0, lt=0.9, description="largest share of each side that is cut away")
    shift: float = Field(default=0.0, ge=0, lt=0.5, description="share of the side")
    brightness: float = Field(default=0.0, ge=0, lt=1, description="relative change")
    contrast: float = Field(default=0.0, ge=0, lt=1, description="relative change")
    saturation: float = Field(default=0.0, ge=0, lt=1, description="relative change")
    cutout: float = Field(default=0.0, ge=0, lt=1, description="side of a square that is made grey, somewhere, as a share of the image's")


#: The one that learns in seconds, and from few photos.
_DEFAULT_CANDIDATES = (Candidate(name="lite0_frozen", architecture="efficientnet_lite0", mode="frozen"),)


class Gate(Strict):
    """What a challenger must show before it may serve; docs/adr/0006-gate.md gives the reasons.

    A change for the worse counts where it is larger than its margin and larger than chance.
    """

    metric: Metric = Field(default="accuracy", description="what challenger and champion are compared by, on the test split")
    floor: float = Field(
        default=0.5, description="worst value of the metric that a champion may have; the lower bound of its interval counts"
    )
    require: Literal["better", "not_worse"] = Field(
        default="better", description="than the champion; `not_worse` renews it with every challenger that is shown to be within `margin`"
    )
    min_gain: float = Field(default=0.0, ge=0, description="`better`: improvement that is needed, beyond none at all")
    margin: float = Field(default=0.01, gt=0, description="loss of the metric that does not matter: `not_worse`, and int8 against float32")
    min_images: int = Field(default=50, ge=1, description="fewest common test images on which a comparison means anything")
    slice_margin: float = Field(default=0.02, ge=0, description="loss of accuracy within one slice that does not matter")
    slice_images: int = Field(default=50, ge=1, description="fewest test images of a slice that is compared")
    max_log_loss: float | None = Field(
        default=None, gt=0, description="worst log-loss of a champion; by default, of always answering the shares of the classes"
    )
    max_log_loss_rise: float = Field(default=0.05, ge=0, description="over the champion's log-loss, in nats")
    max_latency_ms: float = Field(default=250.0, gt=0, description="of one photo on one thread, decoding apart")
    max_slowdown: float = Field(default=4.0, ge=1, description="times the champion's latency, measured side by side")
    max_megabytes: float = Field(default=500.0, gt=0, description="of the served network")
    confounding: Literal["refuse", "report"] = Field(
        default="refuse", description="where files give the class away: judge by the images of which that is not so; or by all of them"
    )
    max_gap: float = Field(
        default=0.05, ge=0, description="recall of a class on images whose source gives it away, above its recall on the others"
    )
    loosened: bool = Field(default=False, description="set by `--smoke`, which asks for less; the verdict then says so")

    @model_validator(mode="after")
    def _floor_can_be_reached(self) -> Gate:
        if (self.floor < 0) if self.metric in LOWER_IS_BETTER else (self.floor > 1):
            best = "below 0" if self.metric in LOWER_IS_BETTER else "above 1"
            raise ValueError(f"no model reaches the floor {self.floor:g}, since {self.metric} is never {best}; set another")
        return self


class Recipe(Strict):
    """One experiment. A name and sources are enough: the rest has defaults that suit a few hundred photos or more."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_]*$", description="of the experiment in MLflow")
    model: str = Field(
        default="",
        pattern=r"^[a-z0-9][a-z0-9-]*$",
        description="registered model that the winner becomes a version of; by default the name",
    )
    seed: int = Field(default=0, ge=0, lt=2**32, description="of the split, and of whatever else is drawn")
    image_size: int = Field(default=224, ge=32, le=512, description="pixels; images become a square of this side")
    resize: Literal["squeeze", "pad", "centre_crop"] = Field(default="squeeze", description="how; serving does the same")
    sources: Sources = Field(description="where images come from")
    decisions: UserPath | None = Field(default=None, description="decisions.yaml: single images to keep, drop or relabel")
    split: Split = Field(default=Split(), description="shares of validation and test")
    balance: Literal["none", "undersample", "sources"] = Field(
        default="none", description="of the classes, in the training split only; `sources`: within each source"
    )
    weights: Weights = Field(
        default="none", description="of training images: classes count alike; `source`: so do the sources within each class"
    )
    augment: Augment = Field(default=Augment(), description="how training images are varied")
    candidates: tuple[Candidate, ...] = Field(default=_DEFAULT_CANDIDATES, min_length=1, description="an entry with `grid` is many")
    parallelism: int = Field(
        default=0, ge=0, le=64, description="most candidates that train at once; 0 for no limit. On one machine never more than two"
    )
    select: Metric = Field(default="accuracy", description="metric on the validation split that chooses the winner")
    select_policy: Literal["best", "cheapest_within_margin"] = Field(
        default="best", description="the latter: the fastest candidate that is shown to lie within `select_margin` of the best"
    )
    select_margin: float = Field(default=0.01, gt=0, description="loss of `select` that does not matter")
    not_sure_share: float = Field(
        default=0.05, ge=0, le=0.5, description="share of the validation photos that may be answered `not_sure`; it sets the thresholds"
    )
    gate: Gate = Field(default=Gate(), description="what a challenger must show before it may serve")

    @model_validator(mode="after")
    def _names_are_unique(self) -> Recipe:
        _require_unique("candidate", [candidate.name for candidate in self.candidates])
        return self

    @property
    def num_views(self) -> int:
        """Variants of each training image that are stored: none if no candidate reads them."""
        return self.augment.views if any(candidate.reads_views for candidate in self.candidates) else 0

    def summarise(self) -> str:
        """Its name and its candidates, for the description of a run."""
        return f"Recipe {self.name}; candidates: {', '.join(candidate.name for candidate in self.candidates)}"


def _require_unique(kind: str, names: list[str]) -> None:
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise ValueError(f"{kind} names must differ, but {', '.join(repeated)} occurs more than once")


def parse_recipe(text: str, *, origin: str = "the recipe", overrides: tuple[str, ...] = (), smoke: bool = False) -> Recipe:
    """Read a recipe from YAML or JSON text.

    Args:
        text: The recipe.
        origin: What to call it in an error.
        overrides: `key=value` pairs; the key is a dotted path (`sources.root`, `candidates.0.epochs`), the value is YAML.
        smoke: Shrink it to about a minute: few images, one epoch, at most two candidates, a gate that asks for little.

    Raises:
        PawflowError: The text is not YAML, or a field is missing, unknown or out of range.
    """
    values = parse_mapping(text, origin=origin, example="name: fusion")
    if any(override.startswith("candidates.") for override in overrides):
        # A recipe that names no candidates has default ones, which can be overridden too.
        values.setdefault("candidates", [one.model_dump(mode="json", exclude_defaults=True) for one in _DEFAULT_CANDIDATES])
    for override in overrides:
        _apply_override(values, override)
    try:
        values = _complete(values)
        # By way of JSON, where strict means: a path may be a text and a tuple a list, but `true` is no number and `1` no text.
        recipe = Recipe.model_validate_json(json.dumps(values, default=str))
    except ValidationError as error:
        raise PawflowError(f"{origin} does not fit the recipe format:\n{describe_validation_error(error, Recipe, 'the recipe')}") from error
    except ValueError as error:
        raise PawflowError(f"{origin} does not fit the recipe format: {error}") from error
    except TypeError as error:
        # YAML makes a date of 2024-01-01, which JSON takes as a value but not as a name.
        raise PawflowError(f"{origin} does not fit the recipe format: a name in it is not text ({error}); put it in quotes") from error
    return _shrink(recipe) if smoke else recipe


def _apply_override(values: dict[str, Any], override: str) -> None:
    path, equals, value = override.partition("=")
    if not equals or not path:
        raise PawflowError(f"override {override!r} is not of the form key=value; an example: image_size=160")
    new = parse(value, origin=f"the value of override {override!r}")
    *parents, last = path.split(".")
    target: Any = values
    way: list[str] = []
    try:
        for parent in parents:
            target = target[int(parent)] if isinstance(target, list) else target.setdefault(parent, {})
            way.append(parent)
        target[int(last) if isinstance(target, list) else last] = new
    except IndexError as error:
        there = f"there are {len(target)}, 0 to {len(target) - 1}" if target else "there are none"
        raise PawflowError(f"override {override!r} names no entry of {'.'.join(way)}: {there}") from error
    except (ValueError, TypeError, AttributeError) as error:
        raise PawflowError(f"override {override!r} names no field of the recipe; an example: candidates.0.epochs=3") from error


def _complete(values: dict[str, Any]) -> dict[str, Any]:
    """Name the model after the recipe, and write out the grids."""
    candidates = values.get("candidates")
    if isinstance(candidates, list):
        entries = [expand_grid(entry) if isinstance(entry, dict) else [entry] for entry in candidates]
        values = {**values, "candidates": [one for expanded in entries for one in expanded]}
    return {"model": str(values.get("name", "")).replace("_", "-"), **values}


def _shrink(recipe: Recipe) -> Recipe:
    return recipe.model_copy(
        update={
            "candidates": tuple(_shrink_candidate(one, recipe.image_size) for one in recipe.candidates[:2]),
            # Every single architecture takes images of this size.
            "image_size": min(recipe.image_size, 80),
            # Enough that each class has some images in every split.
            "split": Split(validation=max(recipe.split.validation, 0.2), test=max(recipe.split.test, 0.2)),
            "sources": recipe.sources.model_copy(
                update={
                    "limit": min(recipe.sources.limit or 360, 360),
                    # With fewer, some class of a hundred would have no image in some split.
                    "fewest_per_class": 40,
                    "archives": tuple(
                        source.model_copy(update={"num_images": min(source.num_images, 120)}) if source.provider == "sample" else source
                        for source in recipe.sources.archives
                    ),
                }
            ),
            # A model that has hardly been trained must never take the place of one that has.
            "model": f"{recipe.model}-smoke",
            "gate": recipe.gate.model_copy(
                update={
                    # Every model clears it. Infinity would be clearer, but JSON has none.
                    "floor": 100.0 if recipe.gate.metric in LOWER_IS_BETTER else 0.0,
                    "min_images": 1,
                    "max_log_loss": 100.0,
                    "confounding": "report",
                    "loosened": True,
                }
            ),
        }
    )


def _shrink_candidate(candidate: Candidate, image_size: int) -> Candidate:
    update = dict.fromkeys((name for name in ("epochs", "head_epochs") if candidate.mode in modes_of(name)), 1)
    if candidate.architecture == "concatenation":
        # The feature maps of networks side by side have to match, which most pairs do at some sizes only.
        update["input_size"] = candidate.input_size or image_size
    return candidate.model_copy(update=update)


def load_recipe(text_or_path: str) -> Recipe:
    """Read a recipe from a file, or from the text itself when no file has that name.

    Raises:
        PawflowError: It is neither, or does not fit the format.
    """
    if "\n" in text_or_path or text_or_path.lstrip().startswith("{"):
        return parse_recipe(text_or_path)
    path = Path(text_or_path)
    if not path.is_file():
        raise PawflowError(f"there is no recipe file {path}; pass a recipe's JSON text or the path of a YAML file")
    return parse_recipe(read_file(path), origin=str(path))
