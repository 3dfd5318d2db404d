"""Store the training views of a dataset."""

from __future__ import annotations

from components.augment.augment import augment
from components.common import tracking
from components.common.cli import DatasetOption, JobOption, OutOption, RecipeOption
from components.common.dataset import Dataset
from components.common.recipe import load_recipe
from components.common.step import execute
from components.common.store import artifact_digest


def run(*, recipe: RecipeOption, dataset: DatasetOption, out: OutOption, job: JobOption = "") -> None:
    """Write the augmented views of the training split of `dataset` to `out`."""
    experiment = load_recipe(recipe)
    fused = Dataset(dataset)
    execute(
        "augment",
        experiment,
        job=job,
        inputs={
            "dataset": artifact_digest(dataset),
            "policy": {**experiment.augment.model_dump(), "views": experiment.num_views},
            "seed": experiment.seed,
        },
        work=lambda folder: augment(fused, experiment, folder),
        out=out,
        after=lambda record: tracking.log_dataset(experiment.model, "output of fuse", fused.digest, "training"),
    )
