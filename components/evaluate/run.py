"""Judge all candidates of the recipe on the same held-out images."""

from __future__ import annotations

import json
from pathlib import Path

from components.common import tracking
from components.common.cli import CandidatesOption, DatasetOption, JobOption, OutOption, RecipeOption
from components.common.dataset import Dataset
from components.common.errors import PawflowError
from components.common.recipe import Recipe, load_recipe
from components.common.step import execute
from components.common.store import artifact_digest
from components.evaluate.evaluate import METRICS_FILE, evaluate, flatten


def run(*, recipe: RecipeOption, dataset: DatasetOption, candidates: CandidatesOption, out: OutOption, job: JobOption = "") -> None:
    """Judge the folders `candidates` on `dataset`; write metrics, predictions and figures to `out`."""
    experiment = load_recipe(recipe)
    fused = Dataset(dataset)
    folders = _in_recipe_order(candidates, experiment)

    def report() -> None:
        tracking.log_dataset(experiment.model, "output of fuse", fused.digest, "evaluation")
        results = json.loads((out / METRICS_FILE).read_text())["candidates"]
        for name, folder in folders.items():
            tracking.add_metrics_to_linked_run(folder, flatten(results[name]))

    execute(
        "evaluate",
        experiment,
        job=job,
        inputs={
            "dataset": artifact_digest(dataset),
            "candidates": {name: artifact_digest(folder) for name, folder in folders.items()},
            "seed": experiment.seed,
        },
        work=lambda folder: evaluate(fused, folders, experiment, folder),
        out=out,
        after=lambda record: report(),
    )


def _in_recipe_order(candidates: list[Path], recipe: Recipe) -> dict[str, Path]:
    found = {}
    for folder in candidates:
        if not (folder / "candidate.json").is_file():
            raise PawflowError(f"{folder} holds no candidate.json; expected the output folder of a train step")
        found[json.loads((folder / "candidate.json").read_text())["name"]] = folder
    names = [candidate.name for candidate in recipe.candidates]
    if set(found) != set(names):
        raise PawflowError(f"the folders hold the candidates {sorted(found)}, but recipe {recipe.name} has {sorted(names)}")
    return {name: found[name] for name in names}
