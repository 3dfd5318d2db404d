"""Exit handler: close the MLflow run of a pipeline run, whatever has happened to it."""

from __future__ import annotations

from typing import Annotated

import typer

from components.common import tracking, tracking_store
from components.common.cli import JobOption
from components.common.errors import PawflowError
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
        try:
            # Asked first, because MLflow's client would wait for minutes, as the step that failed may already have done.
            tracking_store.require_server()
            tracking.close_pipeline_run(job, succeeded=succeeded, message=message)
        except PawflowError as trouble:
            if succeeded:
                raise
            say(f"MLflow could not be told ({trouble}); the next run on this machine does it")
        say(f"the pipeline ended as {state}")
