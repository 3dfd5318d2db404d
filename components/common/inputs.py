"""Finding what earlier steps wrote, for steps that take several of one kind.

Kubeflow passes a folder for each; a person, or `mlflow run`, whose parameters are single values, may pass the folder that holds them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from components.common.errors import PawflowError
from components.common.recipe import Recipe


def find_outputs(folders: Iterable[Path], marker: str, step: str) -> list[Path]:
    """Folders that hold the file `marker`: those given, or what lies directly in them.

    Raises:
        PawflowError: A folder holds none.
    """
    found = []
    for folder in folders:
        inside = [folder] if (folder / marker).is_file() else sorted(path.parent for path in folder.glob(f"*/{marker}"))
        if not inside:
            raise PawflowError(f"{folder} holds no {marker}; expected the output folder of a {step} step, or a folder of such folders")
        found += inside
    return found


def find_candidates(folders: Iterable[Path], recipe: Recipe) -> dict[str, Path]:
    """Outputs of the train step by candidate, in the recipe's order.

    Raises:
        PawflowError: They are not exactly the recipe's candidates.
    """
    found = {
        json.loads((folder / "candidate.json").read_text())["name"]: folder for folder in find_outputs(folders, "candidate.json", "train")
    }
    names = [candidate.name for candidate in recipe.candidates]
    if set(found) != set(names):
        raise PawflowError(f"the folders hold the candidates {sorted(found)}, but recipe {recipe.name} has {sorted(names)}")
    return {name: found[name] for name in names}
