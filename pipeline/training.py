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
from pipeline.profile import Profile


def define_training(parallelism: int | None = None, profile: Profile | None = None) -> Any:
    """The pipeline.

    Args:
        parallelism: How many candidates may train at the same time, by default all. It is a fixed part of a compiled pipeline.
        profile: What a cluster should give each task; the local runner needs none.
    """
    on = (profile or Profile()).apply

    @dsl.pipeline(name="pawflow-training")  # type: ignore[untyped-decorator]
    def training(recipe: str, sources: List[str], candidates: List[str]) -> None:
        """Run an experiment.

        Args:
            recipe: The recipe as JSON.
            sources: Names of its sources, fetched in parallel.
            candidates: Names of its candidates, trained in parallel.
        """
        job = dsl.PIPELINE_JOB_ID_PLACEHOLDER

        with dsl.ExitHandler(on("finish", finish(job=job)), name="experiment"):
            started = on("start", start(recipe=recipe, job=job))

            with dsl.ParallelFor(sources) as source:
                downloaded = on("download", download(recipe=recipe, job=job, source=source).after(started))

            fused = on("fuse", fuse(recipe=recipe, job=job, raw=dsl.Collected(downloaded.outputs["raw"])))
            dataset = fused.outputs["dataset"]

            augmented = on("augment", augment(recipe=recipe, job=job, dataset=dataset))
            views = augmented.outputs["views"]

            with dsl.ParallelFor(candidates, parallelism=parallelism) as candidate:
                trained = on("train", train(recipe=recipe, job=job, candidate=candidate, dataset=dataset, views=views))
            trained_model = trained.outputs["model"]

            evaluated = on("evaluate", evaluate(recipe=recipe, job=job, dataset=dataset, candidates=dsl.Collected(trained_model)))

            registered = on(
                "register",
                register(
                    recipe=recipe,
                    job=job,
                    dataset=dataset,
                    candidates=dsl.Collected(trained_model),
                    evaluation=evaluated.outputs["evaluation"],
                ),
            )

            with dsl.If(registered.outputs["Output"] == "promote", name="verdict-says-promote"):
                on("promote", promote(recipe=recipe, job=job, verdict=registered.outputs["verdict"]))

    return training
