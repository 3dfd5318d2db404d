"""Judge all candidates of the recipe on the same held-out images."""

from __future__ import annotations

import json

from components.common import tracking
from components.common.cli import CandidatesOption, DatasetOption, JobOption, OutOption, RecipeOption
from components.common.dataset import Dataset
from components.common.files import METRICS_FILE
from components.common.outcomes import find_outcomes
from components.common.recipe import load_recipe
from components.common.step import execute
from components.common.store import artifact_digest
from components.evaluate.evaluate import evaluate, flatten


def run(*, recipe: RecipeOption, dataset: DatasetOption, candidates: CandidatesOption, out: OutOption, job: JobOption = "") -> None:
    """Judge the folders `candidates` on `dataset`; write metrics, predictions and figures to `out`."""
    experiment = load_recipe(recipe)
    fused = Dataset(dataset)
    found = find_outcomes(candidates, experiment)

    def report() -> None:
        tracking.log_dataset(experiment.model, "output of fuse", fused.digest, "evaluation")
        results = json.loads((out / METRICS_FILE).read_text())["candidates"]
        for name, folder in found.trained.items():
            tracking.add_metrics_to_linked_run(folder, flatten(results[name]))

    execute(
        "evaluate",
        experiment,
        job=job,
        inputs={
            "dataset": artifact_digest(dataset),
            "candidates": {name: artifact_digest(folder) for name, folder in found.trained.items()},
            "failed": found.failed,
            "seed": experiment.seed,
            "select": experiment.select,
            # They say which photos pretrained networks have seen.
            "layouts": {source.name: source.layout for source in experiment.sources.archives},
        },
        work=lambda folder: evaluate(fused, found.trained, experiment, folder, found.failed),
        out=out,
        after=lambda record: report(),
    )
