"""Kubeflow task: register the winner and reach a verdict; returns "promote" or "keep"."""

from typing import List

from kfp import dsl

from components.common.kubeflow import component


@component
def register(
    recipe: str,
    job: str,
    dataset: dsl.Input[dsl.Dataset],
    candidates: dsl.Input[List[dsl.Model]],
    evaluation: dsl.Input[dsl.Artifact],
    verdict: dsl.Output[dsl.Artifact],
) -> str:
    from pathlib import Path

    from components.common.cli import attempt
    from components.register.run import run

    folders = [Path(artifact.path) for artifact in candidates]
    paths = {"dataset": Path(dataset.path), "evaluation": Path(evaluation.path), "out": Path(verdict.path)}
    return attempt(lambda: run(recipe=recipe, job=job, candidates=folders, **paths))
