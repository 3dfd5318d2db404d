"""Train one candidate of the recipe.

A candidate that cannot be trained is a result like any other: its output says why, and the rest of the pipeline goes on without it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from components.common import tracking
from components.common.cli import DatasetOption, JobOption, OutOption, RecipeOption, ViewsOption
from components.common.dataset import Dataset
from components.common.errors import PawflowError, StoppedError, UnreachableError
from components.common.outcomes import deliver_failure
from components.common.progress import say
from components.common.recipe import load_recipe
from components.common.step import execute
from components.common.store import Record, artifact_digest, entry_key
from components.train.checkpoints import Checkpoints
from components.train.devices import choose_backend, memory_explained
from components.train.models import check_candidate


class _CandidateError(PawflowError):
    """Training a candidate failed, as against all that is done around it."""


def run(
    *,
    recipe: RecipeOption,
    candidate: Annotated[str, typer.Option(help="Name of the candidate in the recipe.")],
    dataset: DatasetOption,
    views: ViewsOption,
    out: OutOption,
    job: JobOption = "",
) -> None:
    """Train `candidate` on `dataset` and its augmented `views`; write it, or why that was not possible, to `out`.

    Raises:
        PawflowError: Something else is wrong, or a signal asked to stop; or training failed and there is no `job` that goes on without it.
    """
    experiment = load_recipe(recipe)
    candidates = {item.name: item for item in experiment.candidates}
    if candidate not in candidates:
        raise PawflowError(f"recipe {experiment.name} has no candidate {candidate!r}; it has {', '.join(candidates)}")
    chosen = candidates[candidate]
    fused = Dataset(dataset)
    inputs = {
        "dataset": artifact_digest(dataset),
        # Of the two ways to vary images, the one that the candidate has.
        "views": (artifact_digest(views), experiment.augment.views) if chosen.reads_views else None,
        "augment": experiment.augment.model_dump(exclude={"views"}) if chosen.augment and not chosen.reads_views else None,
        "candidate": chosen.model_dump(mode="json"),
        "seed": experiment.seed,
        "weights": experiment.weights,
        "not_sure_share": experiment.not_sure_share,
    }
    checkpoints = Checkpoints(entry_key("train", inputs))

    def work(folder: Path) -> Record:
        try:
            check_candidate(chosen, experiment.image_size)
            choose_backend(chosen)
            # TensorFlow takes seconds to import, which a reused candidate does not need.
            from components.train.train import train

            with memory_explained(chosen):
                return train(fused, views, experiment, chosen, folder, checkpoints)
        except (StoppedError, UnreachableError):
            raise
        except PawflowError as error:
            raise _CandidateError(str(error)) from error

    try:
        execute(
            "train",
            experiment,
            subject=candidate,
            position=f"{list(candidates).index(candidate) + 1} of {len(candidates)}",
            system_metrics=True,
            job=job,
            inputs=inputs,
            work=work,
            out=out,
            after=lambda record: tracking.log_dataset(experiment.model, "output of fuse", fused.digest, "training"),
        )
    except _CandidateError as failure:
        deliver_failure(chosen, str(failure), out)
        if not job:
            raise
        say(f"failed: {failure}. The other candidates go on")
        return
    checkpoints.clear()
