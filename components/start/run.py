"""Open the MLflow run that all steps of a pipeline run are nested in."""

from __future__ import annotations

from components.common import tracking
from components.common.cli import JobOption, RecipeOption
from components.common.progress import labelled, say
from components.common.recipe import load_recipe
from components.start.start import describe_code


def run(*, recipe: RecipeOption, job: JobOption) -> None:
    """Open the parent run of pipeline job `job`."""
    experiment = load_recipe(recipe)
    with labelled("start"):
        run_id = tracking.open_pipeline_run(job, experiment, describe_code() | {tracking.NOTE_TAG: experiment.summarise()})
        say(f"recipe {experiment.name}, candidates: {len(experiment.candidates)}, MLflow run {run_id}")
