"""Exit handler: close the MLflow run of a pipeline run, whatever has happened to it."""

from __future__ import annotations

from typing import Annotated

import typer

from components.common import tracking
from components.common.cli import JobOption
from components.common.progress import labelled, say
from components.finish.finish import describe_end


def run(
    *,
    job: JobOption,
    state: Annotated[str, typer.Option(help="Final state of the pipeline: SUCCEEDED, FAILED or CANCELLED.")],
    error: Annotated[str, typer.Option(help="Error message of the pipeline.")] = "",
) -> None:
    """Close the parent run of pipeline job `job`."""
    with labelled("finish"):
        succeeded, message = describe_end(state, error)
        tracking.close_pipeline_run(job, succeeded=succeeded, message=message)
        say(f"the pipeline ended as {state}")
