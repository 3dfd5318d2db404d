"""Kubeflow task: fetch one source."""

from kfp import dsl

from components.common.kubeflow import data_component


@data_component
def download(recipe: str, job: str, source: str, raw: dsl.Output[dsl.Artifact]) -> None:
    from pathlib import Path

    from components.common.cli import attempt
    from components.download.run import run

    attempt(lambda: run(recipe=recipe, job=job, source=source, out=Path(raw.path)))
