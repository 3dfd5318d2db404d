"""Kubeflow task: judge all candidates on the held-out images."""

from typing import List

from kfp import dsl

from components.common.kubeflow import component


@component
def evaluate(
    recipe: str, job: str, dataset: dsl.Input[dsl.Dataset], candidates: dsl.Input[List[dsl.Model]], evaluation: dsl.Output[dsl.Artifact]
) -> None:
    from pathlib import Path

    from components.common.cli import attempt
    from components.evaluate.run import run

    folders = [Path(artifact.path) for artifact in candidates]
    attempt(lambda: run(recipe=recipe, job=job, dataset=Path(dataset.path), candidates=folders, out=Path(evaluation.path)))
