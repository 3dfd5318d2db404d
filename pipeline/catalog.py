"""The recipes that ship with the project, by name, and the check that the code knows everything that a recipe names."""

from __future__ import annotations

from pathlib import Path

from components.common.errors import PawflowError, list_known
from components.common.recipe import Recipe, parse_recipe
from components.common.yaml_text import read_file
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
        PawflowError: There is no such recipe, it is no YAML file, or it names something unknown.
    """
    path = Path(name) if name.endswith((".yaml", ".yml")) else _FOLDER / f"{name}.yaml"
    if not path.is_file():
        if Path(name).is_file():
            raise PawflowError(f"{name} is no recipe: expected a .yaml or .yml file; rename it if it is one")
        raise PawflowError(f"there is no recipe {name!r}{list_known(name, list_recipes())}; or pass the path of a .yaml file")
    recipe = parse_recipe(read_file(path), origin=f"recipe {path.name}", overrides=overrides, smoke=smoke)
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
            raise PawflowError(f"source {source.name!r} names the layout {source.layout!r}{list_known(source.layout, LAYOUTS)}")
