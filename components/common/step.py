"""How every step runs: one MLflow run, one content-addressed output, one delivered artifact.

`run.py` of a step says what its result depends on and which function does the work; `execute` does the rest.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path

from components.common import tracking
from components.common.progress import labelled, say
from components.common.recipe import Recipe
from components.common.store import Record, deliver, produce, read_record


def execute(
    step: str,
    recipe: Recipe,
    *,
    job: str,
    inputs: Mapping[str, object],
    work: Callable[[Path], Record],
    out: Path,
    subject: str = "",
    position: str = "",
    system_metrics: bool = False,
    after: Callable[[Record], None] | None = None,
) -> None:
    """Do a step's work, or reuse its result, and report it to MLflow.

    Args:
        step: The step's name; also its package under `components`.
        recipe: The experiment.
        job: Id of the pipeline run that this belongs to; empty when the step is run by hand.
        inputs: Everything that the result depends on besides the step's code.
        work: Fills the folder that it is given.
        out: Where the finished artifact goes.
        subject: What distinguishes parallel runs of the step: the source's or the candidate's name.
        position: Which of them this is ("2 of 4"), for whoever watches.
        system_metrics: Whether to log the use of processor, memory and GPUs.
        after: Further things to log while the MLflow run is open.
    """
    name = f"{step} {subject}".strip()
    with labelled(f"{name} ({position})" if position else name), tracking.step_run(name, recipe, job, system_metrics=system_metrics):
        started = time.perf_counter()
        entry, reused = produce(step, inputs, work)
        deliver(entry, out)
        record = read_record(out)
        tracking.log_record(step, record, out, reused=reused)
        tracking.link_run(out)
        if after is not None:
            after(record)
        say(f"{'reused' if reused else 'done'} in {time.perf_counter() - started:.1f} s")
