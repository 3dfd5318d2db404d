"""Kubeflow task: move the champion alias."""

from kfp import dsl

from components.common.kubeflow import component


@component
def promote(recipe: str, job: str, verdict: dsl.Input[dsl.Artifact]) -> None:
    from pathlib import Path

    from components.common.cli import attempt
    from components.promote.run import run

    attempt(lambda: run(recipe=recipe, job=job, verdict=Path(verdict.path)))
