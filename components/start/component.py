"""Kubeflow task: open the pipeline run in MLflow."""

from components.common.kubeflow import component


@component
def start(recipe: str, job: str) -> None:
    from components.common.cli import attempt
    from components.start.run import run

    attempt(lambda: run(recipe=recipe, job=job))
