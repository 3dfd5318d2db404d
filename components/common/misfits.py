"""What does not fit a format, in words of the person who wrote it.

In: an error of pydantic, and the model that was to be read. Out: a line for each field, with what came, and for an unknown one those that
there are.
"""

from __future__ import annotations

import re
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from components.common.errors import list_known


def describe_misfits(error: ValidationError, model: type[BaseModel], whole: str) -> str:
    """A line for each field that does not fit.

    Args:
        error: Of reading `model`.
        model: The format.
        whole: What to call all of it, where the fault is in no single field ("the recipe").
    """
    problems = error.errors()
    lines = []
    for problem in problems:
        location = problem["loc"]
        if problem["type"] == "too_short" and any(other["loc"] != location == other["loc"][: len(location)] for other in problems):
            # Pydantic leaves out the entries that are wrong, and then counts.
            continue
        place = ".".join(str(part) for part in location) or whole
        if problem["type"] == "extra_forbidden":
            lines.append(f"  {place}: unknown field{list_known(location[-1], _known_fields(model, location))}")
        elif problem["type"] == "literal_error":
            known = re.findall("'([^']*)'", problem["ctx"]["expected"])
            lines.append(f"  {place}: there is no {problem['input']!r}{list_known(problem['input'], known)}"[:400])
        else:
            remedy = "; write true or false" if problem["type"] == "bool_type" else ""
            lines.append(f"  {place}: {problem['msg']} (got {problem['input']!r}){remedy}"[:400])
    return "\n".join(lines)


def _known_fields(model: Any, location: tuple[int | str, ...]) -> list[str]:
    for part in location[:-1]:
        # Anything else is an index of a list, or a key of a mapping.
        if part in model.model_fields:
            inside = _find_model(model.model_fields[part].annotation)
            if inside is None:
                return []
            model = inside
    return sorted(model.model_fields)


def _find_model(annotation: Any) -> type[BaseModel] | None:
    """The first model in a type, such as that of the entries in `list[Entry] | None`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(filter(None, map(_find_model, get_args(annotation))), None)
