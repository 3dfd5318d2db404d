"""Kubeflow task: fuse all sources into one dataset."""

from typing import List

from kfp import dsl

from components.common.kubeflow import data_component


@data_component
def fuse(recipe: str, job: str, raw: dsl.Input[List[dsl.Artifact]], dataset: dsl.Output[dsl.Dataset]) -> None:
    from pathlib import Path

    from components.common.cli import attempt
    from components.fuse.run import run

    attempt(lambda: run(recipe=recipe, job=job, raw=[Path(artifact.path) for artifact in raw], out=Path(dataset.path)))
