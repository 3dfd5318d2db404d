"""Kubeflow task: train one candidate."""

from kfp import dsl

from components.common.kubeflow import component


@component
def train(
    recipe: str, job: str, candidate: str, dataset: dsl.Input[dsl.Dataset], views: dsl.Input[dsl.Dataset], model: dsl.Output[dsl.Model]
) -> None:
    from pathlib import Path

    from components.common.cli import attempt
    from components.train.run import run

    paths = {"dataset": Path(dataset.path), "views": Path(views.path), "out": Path(model.path)}
    attempt(lambda: run(recipe=recipe, job=job, candidate=candidate, **paths))
