"""Kubeflow task: store the training views."""

from kfp import dsl

from components.common.kubeflow import data_component


@data_component
def augment(recipe: str, job: str, dataset: dsl.Input[dsl.Dataset], views: dsl.Output[dsl.Dataset]) -> None:
    from pathlib import Path

    from components.augment.run import run
    from components.common.cli import attempt

    attempt(lambda: run(recipe=recipe, job=job, dataset=Path(dataset.path), out=Path(views.path)))
