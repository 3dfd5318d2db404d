"""What a caller may ask for beside the photo; the same four options over MLflow's endpoint and over the gateway.

In: names and values from JSON (`params`) or from an address (`?top_k=3`), where every value is text. Out: checked `Options`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal


class RequestError(ValueError):
    """The caller asked for something that cannot be answered; the message says what, in plain words."""


@dataclass(frozen=True)
class Options:
    """How to answer.

    Attributes:
        top_k: Most classes in `probabilities`, the most probable first; 0 for all, in the model's order.
        threshold: Probability of the label under which the answer is `not_sure`; None for the model's own. A photo in which the model
            sees nothing that it knows is `not_sure` at any.
        heat_map: Whether to say which parts of the photo spoke for the label.
        on_error: What one unreadable photo does: `fail` refuses the request, `report` gives that photo's row an `error` instead.
    """

    top_k: int = 0
    threshold: float | None = None
    heat_map: bool = False
    on_error: Literal["fail", "report"] = "fail"

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> Options:
        """Check options; None stands for the default.

        Raises:
            RequestError: One is unknown or out of range.
        """
        unknown = sorted(str(name) for name in set(values) - set(_READERS))
        if unknown:
            raise RequestError(f"unknown option {unknown[0][:50]!r}; there are {', '.join(_READERS)}")
        return cls(**{name: _READERS[name](name, value) for name, value in values.items() if value is not None})


def _read_count(name: str, value: Any) -> int:
    try:
        count = int(value)
    except (TypeError, ValueError, OverflowError):
        count = -1
    if isinstance(value, bool) or count < 0 or (isinstance(value, float) and value != count):
        raise _refusal(name, value, "a whole number, 0 or more")
    return count


def _read_probability(name: str, value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if isinstance(value, bool) or not 0 <= number <= 1:
        raise _refusal(name, value, "a number from 0 to 1")
    return number


def _read_flag(name: str, value: Any) -> bool:
    flags = {"true": True, "1": True, "false": False, "0": False}
    if str(value).lower() not in flags:
        raise _refusal(name, value, "true or false")
    return flags[str(value).lower()]


def _read_reaction(name: str, value: Any) -> str:
    if value not in ("fail", "report"):
        raise _refusal(name, value, "fail or report")
    return str(value)


def _refusal(name: str, value: Any, expected: str) -> RequestError:
    return RequestError(f"{name} is {str(value)[:50]!r}; expected {expected}")


_READERS: dict[str, Callable[[str, Any], Any]] = {
    "top_k": _read_count,
    "threshold": _read_probability,
    "heat_map": _read_flag,
    "on_error": _read_reaction,
}
