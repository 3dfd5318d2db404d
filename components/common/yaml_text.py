"""Recipes, profiles and decisions as people write them: YAML files, read with an error that says what to put right.

In: a file, or its text. Out: what it says, of which nothing is dropped or read otherwise than meant: 1e-3 is a number, yes and no are
words, and no key occurs twice.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from components.common.errors import PawflowError

_TRUTH = "tag:yaml.org,2002:bool"
_IN_WORDS: dict[type, str] = {type(None): "nothing", str: "nothing but a text", list: "a list", bool: "a single value"}


class Loader(yaml.SafeLoader):
    """YAML in which 1e-3 is a number, and yes is none of the names of `true`, as everywhere but in YAML 1.1; no key may occur twice."""

    yaml_implicit_resolvers = {  # noqa: RUF012 (the parent's, without those of YAML 1.1 for truth)
        first: [(tag, pattern) for tag, pattern in resolvers if tag != _TRUTH]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def compose_mapping_node(self, anchor: dict[Any, yaml.Node] | None) -> yaml.MappingNode:
        """As the parent's, which lets the last of two values win without a word."""
        node = super().compose_mapping_node(anchor)  # type: ignore[arg-type]
        seen: set[tuple[str, str]] = set()
        for key, _ in node.value:
            if (key.tag, str(key.value)) in seen:
                raise yaml.composer.ComposerError(None, None, f"the key {key.value!r} occurs twice; keep one of them", key.start_mark)
            seen.add((key.tag, str(key.value)))
        return node


Loader.add_implicit_resolver(_TRUTH, re.compile(r"^(true|True|TRUE|false|False|FALSE)$"), list("tTfF"))
Loader.add_implicit_resolver("tag:yaml.org,2002:float", re.compile(r"^[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"), list("-+0123456789"))


def read_file(path: Path) -> str:
    """The text of a file.

    Raises:
        PawflowError: It is not UTF-8.
        OSError: It cannot be read.
    """
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise PawflowError(f"{path} is not UTF-8 text (byte {error.start} cannot be read); save it as UTF-8 in your editor") from error


def parse(text: str, *, origin: str) -> Any:
    """What a text of YAML holds; `origin` is what to call it in an error.

    Raises:
        PawflowError: It is not YAML, a key occurs twice, or it holds itself.
    """
    try:
        return _unshare(yaml.load(text, Loader))  # noqa: S506 (a SafeLoader)
    except (yaml.YAMLError, ValueError) as error:
        # Of a date that the calendar does not have, a ValueError.
        raise PawflowError(f"{origin} is not valid YAML: {error}") from error
    except RecursionError as error:
        raise PawflowError(f"{origin} is nested too deeply; perhaps an anchor (&name) holds an alias (*name) of itself") from error


def _unshare(value: Any) -> Any:
    """The same, with a copy for each alias of an anchor: a change of one must not reach the others."""
    if isinstance(value, dict):
        return {key: _unshare(one) for key, one in value.items()}
    return [_unshare(one) for one in value] if isinstance(value, list) else value


def parse_mapping(text: str, *, origin: str, example: str) -> dict[str, Any]:
    """The mapping that a text holds.

    Args:
        text: YAML, of which JSON is a part.
        origin: What to call it in an error.
        example: Of a field, for whoever wrote something else.

    Raises:
        PawflowError: It is not YAML, a key occurs twice, or it holds something else than fields.
    """
    values = parse(text, origin=origin)
    if not isinstance(values, dict):
        raise PawflowError(f"{origin} holds {_IN_WORDS.get(type(values), 'a single value')}, expected fields such as `{example}`")
    return values
