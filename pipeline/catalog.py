"""The recipes that ship with the project, by name, and the check that the code knows everything that a recipe names."""

from __future__ import annotations

import difflib
from pathlib import Path

from components.common.errors import PawflowError
from components.common.recipe import Recipe, parse_recipe
from components.download.download import check
from components.download.sources import Request
from components.fuse.layouts import LAYOUTS
from components.train.models import check_candidate

_FOLDER = Path(__file__).parent / "recipes"


def list_recipes() -> list[str]:
    """Names of all recipes that ship with the project."""
    return sorted(path.stem for path in _FOLDER.glob("*.yaml"))


def summarise_recipe(name: str) -> str:
    """What a recipe that ships with the project shows: the first line of its file."""
    return (_FOLDER / f"{name}.yaml").read_text().splitlines()[0].lstrip("# ")


def find_recipe(name: str, overrides: tuple[str, ...] = (), *, smoke: bool = False) -> Recipe:
    """Load a recipe by name or path, apply overrides and check it.

    Raises:
        PawflowError: There is no such recipe, or it names something unknown.
    """
    path = Path(name) if name.endswith((".yaml", ".yml")) else _FOLDER / f"{name}.yaml"
    if not path.is_file():
        close = difflib.get_close_matches(name, list_recipes(), 1)
        hint = f"; did you mean {close[0]!r}?" if close else "."
        raise PawflowError(
            f"there is no recipe {name!r}{hint} Known recipes: {', '.join(list_recipes())}; or pass the path of a .yaml file"
        )
    recipe = parse_recipe(path.read_text(), origin=f"recipe {path.name}", overrides=overrides, smoke=smoke)
    check_names(recipe)
    return recipe


def check_names(recipe: Recipe) -> None:
    """Check that every provider, layout, architecture and option of a recipe exists.

    Raises:
        PawflowError: One does not; the message lists the known ones.
    """
    for candidate in recipe.candidates:
        check_candidate(candidate, recipe.image_size)
    for source in recipe.sources.archives:
        check(Request(source, recipe.sources.root, recipe.seed))
        if source.layout not in LAYOUTS:
            raise PawflowError(f"source {source.name!r} names the layout {source.layout!r}; known ones: {', '.join(LAYOUTS)}")
