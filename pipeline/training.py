"""The pipeline: from archives of photos to a registered, and perhaps promoted, model.

Read from top to bottom it is the flow of data. Each task's work is in the folder of its name under `components`.
"""

from typing import Any, List

from kfp import dsl

from components.augment.component import augment
from components.download.component import download
from components.evaluate.component import evaluate
from components.finish.component import finish
from components.fuse.component import fuse
from components.promote.component import promote
from components.register.component import register
from components.start.component import start
from components.train.component import train


def define_training(parallelism: int | None = None) -> Any:
    """The pipeline; `parallelism` is how many candidates may train at the same time, and a fixed part of it: by default all."""

    @dsl.pipeline(name="pawflow-training")  # type: ignore[untyped-decorator]
    def training(recipe: str, sources: List[str], candidates: List[str]) -> None:
        """Run an experiment.

        Args:
            recipe: The recipe as JSON.
            sources: Names of its sources, fetched in parallel.
            candidates: Names of its candidates, trained in parallel.
        """
        job = dsl.PIPELINE_JOB_ID_PLACEHOLDER

        with dsl.ExitHandler(finish(job=job), name="experiment"):
            started = start(recipe=recipe, job=job)

            with dsl.ParallelFor(sources) as source:
                downloaded = download(recipe=recipe, job=job, source=source).after(started)

            fused = fuse(recipe=recipe, job=job, raw=dsl.Collected(downloaded.outputs["raw"]))
            dataset = fused.outputs["dataset"]

            augmented = augment(recipe=recipe, job=job, dataset=dataset)

            with dsl.ParallelFor(candidates, parallelism=parallelism) as candidate:
                trained = train(recipe=recipe, job=job, candidate=candidate, dataset=dataset, views=augmented.outputs["views"])

            evaluated = evaluate(recipe=recipe, job=job, dataset=dataset, candidates=dsl.Collected(trained.outputs["model"]))

            registered = register(
                recipe=recipe,
                job=job,
                dataset=dataset,
                candidates=dsl.Collected(trained.outputs["model"]),
                evaluation=evaluated.outputs["evaluation"],
            )

            with dsl.If(registered.outputs["Output"] == "promote", name="verdict-says-promote"):
                promote(recipe=recipe, job=job, verdict=registered.outputs["verdict"])

    return training
