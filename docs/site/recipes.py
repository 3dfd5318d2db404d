"""The reference of recipes and profiles, made of the models that check them: prints docs/recipes.md (`make reference`)."""

from __future__ import annotations

import json
import re
import types
import typing
from collections.abc import Iterator

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from components.common.candidate import Candidate, Target
from components.common.recipe import Augment, Gate, Place, Recipe, Source, Sources, Split
from components.train.models import ARCHITECTURES
from pipeline.catalog import list_recipes, summarise_recipe
from pipeline.profile import Gpu, Profile, Retry, Step, Toleration


def _list_options() -> dict[str, type[BaseModel]]:
    """The options of the architectures, each once, under the names of all that take them."""
    takers: dict[type[BaseModel], list[str]] = {}
    for name, architecture in ARCHITECTURES.items():
        takers.setdefault(architecture.options, []).append(f"`{name}`")
    return {f"`options` of {', '.join(names)}": options for options, names in takers.items()}


#: Heading -> the model, in the order of the page; an inherited field is shown once, where it is written.
_RECIPE: dict[str, type[BaseModel]] = {
    "The recipe": Recipe,
    "`sources`": Sources,
    "An entry of `sources.archives`": Source,
    "A place: such an entry, or one of its `fallbacks`": Place,
    "`split`": Split,
    "`augment`": Augment,
    "An entry of `candidates`": Candidate,
    "`stop_at` of a candidate": Target,
    "`gate`": Gate,
    **_list_options(),
}
_PROFILE: dict[str, type[BaseModel]] = {
    "The profile": Profile,
    "`defaults`, and an entry of `steps`": Step,
    "`gpu`": Gpu,
    "`retry`": Retry,
    "An entry of `tolerations`": Toleration,
}
_LIMITS = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
#: Of classes that show what they are by another name.
_NAMES = {
    "str": "text",
    "int": "whole number",
    "float": "number",
    "bool": "`true`, `false`",
    "Path": "path",
    "NoneType": "nothing",
    "Any": "anything",
}

_INTRODUCTION = """# Recipes and profiles: every field

*Made by `make reference` from the models that check them ([recipe.py](../components/common/recipe.py),
[candidate.py](../components/common/candidate.py), [options.py](../components/train/models/options.py),
[profile.py](../pipeline/profile.py)); a test keeps it up to date.*

A recipe is one YAML file. `name` and `sources` are enough. Any field can be set from the command line by its dotted path,
`sources.root=DIR` or `candidates.0.epochs=3`; an unknown one, or a value of a wrong type, is refused before anything runs, with the list of
those that exist.

`grid` in an entry of `candidates` makes many of it: `{name: cnn, …, grid: {learning_rate: [0.01, 0.001], options.layer_size: [16, 32]}}`
are four candidates, `cnn-0.01-16` to `cnn-0.001-32`. `--smoke` shrinks any recipe: at most 360 images of each source, or 40 of each class,
at 80 pixels (which a `concatenation` enlarges to the size that it has without `--smoke`), one epoch, two candidates, and a model of its own
(`NAME-smoke`), whose gate asks for little, as each verdict then says.
"""


def main() -> None:
    """Print the page."""
    print(_INTRODUCTION)
    print("## Recipes that ship with the project\n\n| recipe | |\n| --- | --- |")
    for name in list_recipes():
        print(f"| [`{name}`](../pipeline/recipes/{name}.yaml) | {_escape(summarise_recipe(name))} |")
    for heading, model in _RECIPE.items():
        print(*_describe(heading, model), sep="\n")
    print("\n## Profiles\n\nHow a cluster runs the pipeline; [infra/kubeflow/profile.yaml](../infra/kubeflow/profile.yaml) is one to copy.")
    for heading, model in _PROFILE.items():
        print(*_describe(heading, model), sep="\n")


def _describe(heading: str, model: type[BaseModel]) -> Iterator[str]:
    yield f"\n### {heading}\n"
    about = (model.__doc__ or "").strip().splitlines()[0]
    if about != f"{heading.replace('`options`', 'Options')}.":
        yield f"{about}\n"
    yield "| field | type | default | meaning |\n| --- | --- | --- | --- |"
    inherited = {
        name for base in model.__bases__ for name in getattr(base, "model_fields", {}) if base in (*_RECIPE.values(), *_PROFILE.values())
    }
    for name, field in model.model_fields.items():
        if name not in inherited:
            yield f"| `{name}` | {_state_type(field)} | {_state_default(field)} | {_escape(str(field.description))} |"


def _escape(text: str) -> str:
    """What Markdown would take for a mark, outside of code."""
    parts = text.split("`")
    return "`".join(part if number % 2 else re.sub(r"([<*])", r"\\\1", part) for number, part in enumerate(parts))


def _state_type(field: FieldInfo) -> str:
    limits = [f"{sign} {getattr(item, key):,}" for item in field.metadata for key, sign in _LIMITS.items() if hasattr(item, key)]
    return ", ".join([_name(field.annotation), *limits])


def _name(annotation: object) -> str:
    """A type in words."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return _name(arguments[0])
    if origin is typing.Literal:
        return ", ".join(f"`{value}`" for value in arguments)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(_name(part) for part in arguments if part is not types.NoneType)
    if origin in (list, tuple):
        return f"list of {_name(arguments[0])}"
    if origin is dict:
        return f"mapping: {_name(arguments[0])} → {_name(arguments[1])}"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        heading = next(heading for heading, model in (_RECIPE | _PROFILE).items() if model is annotation)
        return f"[{annotation.__name__}](#{re.sub(r'[^a-z_ -]', '', heading.lower()).replace(' ', '-')})"
    return _NAMES[getattr(annotation, "__name__", str(annotation))]


def _state_default(field: FieldInfo) -> str:
    if field.is_required():
        return "**required**"
    value = field.get_default(call_default_factory=True)
    if value is None or value in ((), [], {}, ""):
        return ""
    if isinstance(value, BaseModel):
        return "its fields'"
    if isinstance(value, tuple):
        return ", ".join(f"`{one.name}`" for one in value)
    return f"`{value if isinstance(value, str) else json.dumps(value)}`"


if __name__ == "__main__":
    main()
