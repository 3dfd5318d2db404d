"""What became of each candidate, between the step that trains them and those that go on with them.

In: folders that the train step wrote; of a candidate that could not be trained, one with the reason. Out: those that can be judged, and
why the others cannot.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from components.common.candidate import Candidate
from components.common.errors import PawflowError
from components.common.files import CANDIDATE_FILE, FAILURE_FILE
from components.common.recipe import Recipe
from components.common.store import Record, deliver, find_outputs, seal


@dataclass(frozen=True)
class Outcomes:
    """Outputs of the train step, both by candidate and in the recipe's order.

    Attributes:
        trained: Their folders.
        failed: Why there is nothing in the others.
    """

    trained: dict[str, Path]
    failed: dict[str, str]


def find_outcomes(folders: Iterable[Path], recipe: Recipe) -> Outcomes:
    """What became of each of the recipe's candidates.

    Raises:
        PawflowError: They are not exactly the recipe's candidates, or all of them failed.
    """
    found = {json.loads((folder / CANDIDATE_FILE).read_text())["name"]: folder for folder in find_outputs(folders, CANDIDATE_FILE, "train")}
    names = [candidate.name for candidate in recipe.candidates]
    if set(found) != set(names):
        raise PawflowError(f"the folders hold the candidates {sorted(found)}, but recipe {recipe.name} has {sorted(names)}")
    failed = {
        name: json.loads((found[name] / FAILURE_FILE).read_text())["reason"] for name in names if (found[name] / FAILURE_FILE).is_file()
    }
    if len(failed) == len(names):
        raise PawflowError("no candidate could be trained. " + ". ".join(f"{name} failed: {reason}" for name, reason in failed.items()))
    return Outcomes({name: found[name] for name in names if name not in failed}, failed)


def deliver_failure(candidate: Candidate, reason: str, destination: Path) -> None:
    """Put the output of a train step that failed where the caller wants it; never into the store, so that the next run tries again."""
    with tempfile.TemporaryDirectory(prefix="pawflow-") as name:
        folder = Path(name)
        (folder / CANDIDATE_FILE).write_text(candidate.model_dump_json(indent=1))
        (folder / FAILURE_FILE).write_text(json.dumps({"reason": reason}, indent=1))
        seal(folder, "train", Record())
        deliver(folder, destination)
