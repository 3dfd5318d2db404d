"""What is wrong with a file, in words of the person who wrote it.

In: a validation error of pydantic, and the model that was to be read. Out: a line for each field that is wrong: what was expected and what
was written. For a name that does not exist it lists those that do.
"""

from __future__ import annotations

import re
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from components.common.errors import list_known

_Path = tuple[int | str, ...]


def describe_validation_error(error: ValidationError, model: type[BaseModel], whole: str) -> str:
    """A line for each field that is wrong.

    Args:
        error: Of reading `model`.
        model: The format.
        whole: What to call all of it, where the fault is in no single field ("the recipe").
    """
    problems = error.errors()
    wrong: dict[_Path, list[ErrorDetails]] = {}
    for problem in problems:
        location = problem["loc"]
        if problem["type"] == "too_short" and any(other["loc"] != location == other["loc"][: len(location)] for other in problems):
            # Pydantic leaves out the entries that are wrong, and then counts.
            continue
        path, _ = _follow(model, location)
        wrong.setdefault(path, []).append(problem)
    return "\n".join(f"  {'.'.join(map(str, path)) or whole}: {_describe(problems, model)}" for path, problems in wrong.items())


def _describe(problems: list[ErrorDetails], model: type[BaseModel]) -> str:
    """What is wrong with one field; where it may be of several types, pydantic has a problem for each."""
    kind, location, written = problems[0]["type"], problems[0]["loc"], problems[0]["input"]
    if kind == "extra_forbidden":
        _, known = _follow(model, location)
        return f"unknown field{list_known(location[-1], known)}"
    if kind == "literal_error":
        known = re.findall("'([^']*)'", problems[0]["ctx"]["expected"])
        return f"there is no {written!r}{list_known(written, known)}"[:400]
    first, *others = [problem["msg"].removeprefix("Value error, ") for problem in problems]
    expected = " or ".join([first, *(other.removeprefix("Input should be ") for other in others)])
    # All that stands in a mapping or a list would hide the message; of these, the path says enough.
    got = "" if isinstance(written, dict | list) else f" (got {written!r})"
    remedy = "; write true or false" if kind == "bool_type" else ""
    return f"{expected}{got}{remedy}"[:400]


def _follow(model: type[BaseModel], location: _Path) -> tuple[_Path, list[str]]:
    """The path of a field as it was written, and the names of the fields that may stand where it does."""
    inside: type[BaseModel] | None = model
    path: list[int | str] = []
    is_type = False
    for part in location:
        if is_type:
            # Behind a field that may be of several types, pydantic names one of them.
            is_type = False
            continue
        path.append(part)
        # Anything else is an index of a list, or a key of a mapping.
        if inside and part in inside.model_fields:
            annotation = inside.model_fields[str(part)].annotation
            is_type = _is_union(annotation)
            inside = _find_model(annotation)
    return tuple(path), sorted(inside.model_fields) if inside else []


def _is_union(annotation: Any) -> bool:
    """Whether values of several types are allowed, None apart."""
    return get_origin(annotation) in (Union, UnionType) and len(set(get_args(annotation)) - {NoneType}) > 1


def _find_model(annotation: Any) -> type[BaseModel] | None:
    """The first model in a type, such as that of the entries in `list[Entry] | None`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(filter(None, map(_find_model, get_args(annotation))), None)
