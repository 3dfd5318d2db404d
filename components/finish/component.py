"""Kubeflow exit handler: close the pipeline run in MLflow."""

from kfp import dsl

from components.common.kubeflow import data_component


@data_component
def finish(job: str, status: dsl.PipelineTaskFinalStatus) -> None:
    from components.common.cli import attempt
    from components.finish.run import run

    attempt(lambda: run(job=job, state=status.state, error=status.error_message or ""))
