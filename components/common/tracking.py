"""The one writer of MLflow runs: metrics leave the steps as data, and arrive in MLflow here, those of a training epoch by epoch.

A pipeline run is one parent run, found by the pipeline's job id; each step and each candidate is a run nested in it. Where Kubeflow's
own MLflow plugin has started a run for the task (`MLFLOW_RUN_ID`), that run is adopted instead.
"""

from __future__ import annotations

import json
import os
import re
import socket
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from components.common.database import machine_lock, make_database
from components.common.errors import PawflowError
from components.common.mishaps import OutageError, explain
from components.common.recipe import Recipe
from components.common.store import Record
from components.common.tracking_store import configure

JOB_TAG = "pawflow.job"
#: MLflow's own name for it, by which its UI shows it.
COMMIT_TAG = "mlflow.source.git.commit"
#: The description of a run, in Markdown; MLflow's own name for it too.
NOTE_TAG = "mlflow.note.content"
_OWNER_TAG = "pawflow.owner"
_LINK = "tracking.json"
#: Seconds between two samples of processor, memory and GPU: a training of half a minute has a curve, and one of a day no gigabytes of them.
_SAMPLING_INTERVAL = 2.0
#: Seconds by which the two times of a process and of a run, the one counted from the machine's start, may be apart: clocks are put right.
_CLOCK_ERROR = 300.0
#: MLflow refuses longer parameter values.
_LONGEST_PARAM = 6000
_LONGEST_TAG = 4000
_LONGEST_NAME = 250


def _choose_experiment(recipe: Recipe) -> None:
    import mlflow

    try:
        mlflow.set_experiment(recipe.name)
    except mlflow.exceptions.MlflowException as error:
        if "deleted" not in str(error):
            raise
        raise PawflowError(
            f"the MLflow experiment {recipe.name!r} was deleted; restore it (`mlflow experiments restore`) or purge it (`mlflow gc`)"
        ) from error


def owner() -> str:
    """Who drives the pipeline: `host:pid` of the local runner, or empty where a cluster does."""
    return os.environ.get("PAWFLOW_OWNER", "")


def open_pipeline_run(job: str, recipe: Recipe, tags: dict[str, str]) -> str:
    """Create the parent run of a pipeline run.

    Args:
        job: The pipeline's job id, by which the steps find the run.
        recipe: Logged as parameters and as `recipe.json`.
        tags: Further tags, the git commit say.

    Returns:
        The MLflow run id.
    """
    configure()
    import mlflow

    injected = os.environ.get("MLFLOW_RUN_ID")
    make_database()
    if not injected:
        # Two first runs at once would both create the experiment, and one would fail.
        with machine_lock():
            _choose_experiment(recipe)
        _close_abandoned_runs(recipe)
        mlflow.set_experiment_tag("mlflow.experimentKind", "custom_model_development")
    tags_of_origin = {"mlflow.source.name": "pipeline/training.py"}
    with mlflow.start_run(run_id=injected, run_name=f"{recipe.name} {job}", tags=tags_of_origin) as run:
        mlflow.set_tags({JOB_TAG: job, _OWNER_TAG: owner(), "pawflow.recipe": recipe.name, "pawflow.model": recipe.model, **tags})
        mlflow.log_params(
            {f"recipe.{name}": value for name, value in recipe.model_dump(mode="json").items() if not isinstance(value, dict | list)}
        )
        mlflow.log_dict(recipe.model_dump(mode="json"), "recipe.json")
        run_id: str = run.info.run_id
    # The run stays open until the exit handler closes it; leaving the block above would have marked it finished.
    mlflow.MlflowClient().update_run(run_id, status="RUNNING")
    return run_id


def find_pipeline_run(job: str) -> str | None:
    """Run id of the newest parent run of a pipeline job, or None."""
    configure()
    make_database()
    import mlflow

    if not job:
        return None
    experiments = [experiment.experiment_id for experiment in mlflow.search_experiments()]
    runs = mlflow.search_runs(experiments, filter_string=f"tags.`{JOB_TAG}` = '{job}'", max_results=1, output_format="list")
    return runs[0].info.run_id if runs else None


def has_ended(run_id: str) -> bool:
    """Whether a run is known and not open any more."""
    import mlflow

    closed = f"attributes.run_id = '{run_id}' and attributes.status != 'RUNNING'"
    return bool(mlflow.search_runs(search_all_experiments=True, filter_string=closed, output_format="list"))


def close_pipeline_run(job: str, *, succeeded: bool, message: str) -> None:
    """End the parent run of a pipeline job and whatever its failed steps left open."""
    run_id = find_pipeline_run(job)
    if run_id is not None:
        _terminate(run_id, "FINISHED" if succeeded else "FAILED", message)


def _terminate(run_id: str, status: str, message: str = "") -> None:
    import mlflow

    client = mlflow.MlflowClient()
    parent = client.get_run(run_id)
    children = client.search_runs([parent.info.experiment_id], f"tags.`mlflow.parentRunId` = '{run_id}' and attributes.status = 'RUNNING'")
    for child in children:
        client.set_terminated(child.info.run_id, "KILLED")
    if message:
        client.set_tag(run_id, "pawflow.message", message[:_LONGEST_TAG])
    client.set_terminated(run_id, status)


def _close_abandoned_runs(recipe: Recipe) -> None:
    """Mark runs as killed whose local runner is gone: a killed process cannot do so itself."""
    import mlflow

    experiment = mlflow.get_experiment_by_name(recipe.name)
    if experiment is None:
        return
    open_runs = mlflow.search_runs(
        [experiment.experiment_id], f"tags.`{JOB_TAG}` != '' and attributes.status = 'RUNNING'", output_format="list"
    )
    for run in open_runs:
        host, _, process = run.data.tags.get(_OWNER_TAG, "").partition(":")
        if host == socket.gethostname() and process.isdigit() and not _has_run_since(int(process), run.info.start_time / 1000):
            _terminate(run.info.run_id, "KILLED", "the process that drove this run is gone")


def _has_run_since(process: int, moment: float) -> bool:
    """Whether a process is there that was there at that time, in seconds since 1970: a younger one has been given the number of another."""
    try:
        return psutil.Process(process).create_time() <= moment + _CLOCK_ERROR
    except psutil.NoSuchProcess:
        return False


@contextmanager
def step_run(step: str, recipe: Recipe, job: str, *, system_metrics: bool = False) -> Iterator[None]:
    """Run the body inside the MLflow run of one step, nested in its pipeline's run if there is one.

    Args:
        step: Its name, and what distinguishes parallel runs of it.
        recipe: The experiment.
        job: Id of the pipeline run; empty for none.
        system_metrics: Whether the use of processor, memory and GPUs is logged meanwhile.
    """
    configure()
    import mlflow

    mlflow.set_system_metrics_sampling_interval(_SAMPLING_INTERVAL)  # type: ignore[no-untyped-call]
    injected = os.environ.get("MLFLOW_RUN_ID")
    if injected:
        with mlflow.start_run(run_id=injected, log_system_metrics=system_metrics), _reason_noted():
            yield
        return
    parent = find_pipeline_run(job)
    _choose_experiment(recipe)
    name = step.split()[0]
    tags = {"pawflow.step": name, "pawflow.recipe": recipe.name, "mlflow.source.name": f"components/{name}"}
    with mlflow.start_run(run_name=step, parent_run_id=parent, tags=tags, log_system_metrics=system_metrics), _reason_noted():
        yield


@contextmanager
def _reason_noted() -> Iterator[None]:
    """Write on the open run why it failed, both for programs and for whoever looks at it."""
    import mlflow

    try:
        yield
    except Exception as error:
        known = explain(error)
        if known is None:
            raise
        if isinstance(known, OutageError):
            # It has just been waited for in vain; to end this run it would be waited for as long again.
            os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] = "0"
        reason = str(known)[:_LONGEST_TAG]
        with suppress(mlflow.exceptions.MlflowException):
            mlflow.set_tags({"pawflow.failed": reason, NOTE_TAG: f"failed: {reason}"})
        if known is error:
            raise
        raise known from error


def log_record(step: str, record: Record, folder: Path, *, reused: bool) -> None:
    """Write a step's record into the open run.

    Args:
        step: Prefix of the parameters, so that those of different steps never collide.
        record: What to write; its figures are paths inside `folder`.
        folder: The step's output.
        reused: Whether the output was made by an earlier run.
    """
    import mlflow

    mlflow.set_tags({"pawflow.reused": str(reused).lower(), **record.tags})
    mlflow.log_params({f"{step}.{name}": str(value)[:_LONGEST_PARAM] for name, value in record.params.items()})
    mlflow.log_metrics(_name_plainly(record.metrics))
    _complete_curves(record.curves)
    for figure in record.figures:
        path = folder / figure
        if path.is_dir():
            mlflow.log_artifacts(str(path), figure)
        else:
            mlflow.log_artifact(str(path), str(Path(figure).parent) if Path(figure).parent.name else None)


def _name_plainly(metrics: Mapping[str, float]) -> dict[str, float]:
    """The metrics under names that MLflow takes, whatever classes and breeds are called."""
    return {re.sub(r"[^\w.: -]", "_", name.replace("%", "percent"))[:_LONGEST_NAME]: value for name, value in metrics.items()}


def log_epoch(number: int, values: dict[str, float]) -> None:
    """Show what an epoch came to in the open run, if there is one, while training goes on.

    Nothing waits for it and nothing fails with it: what does not arrive, `log_record` writes at the end.

    Args:
        number: Of the epoch, counted over all phases from 1.
        values: Metric -> its value.
    """
    import mlflow

    if mlflow.active_run() is not None:
        mlflow.log_metrics(values, step=number, synchronous=False)


def _complete_curves(curves: dict[str, list[float]]) -> None:
    """Write what the open run lacks of them: all of a reused output, and the epochs before a training continued."""
    import mlflow

    mlflow.flush_async_logging()
    run, missing = mlflow.active_run(), defaultdict[int, dict[str, float]](dict)
    for name, values in curves.items():
        shown = {point.step for point in mlflow.MlflowClient().get_metric_history(run.info.run_id, name)} if run else set()
        for position, value in enumerate(values, start=1):
            if position not in shown:
                missing[position][name] = value
    for position, together in missing.items():
        mlflow.log_metrics(together, step=position)


def link_run(folder: Path) -> None:
    """Note the open run beside an artifact, so that a later step can add to it."""
    import mlflow

    run = mlflow.active_run()
    if run is not None:
        (folder / _LINK).write_text(json.dumps({"run_id": run.info.run_id}))


def add_metrics_to_linked_run(folder: Path, metrics: dict[str, float]) -> None:
    """Write metrics into the run that made an artifact, if it is known."""
    import mlflow

    if (folder / _LINK).is_file():
        mlflow.log_metrics(_name_plainly(metrics), run_id=json.loads((folder / _LINK).read_text())["run_id"])


def log_dataset(name: str, origin: str, digest: str, context: str) -> None:
    """Record which dataset the open run used.

    Args:
        name: Of the dataset.
        origin: Where it is from, in words.
        digest: Of its manifest; MLflow keeps the first 32 characters.
        context: What for: `training` or `evaluation`.
    """
    import mlflow
    from mlflow.data.code_dataset_source import CodeDatasetSource
    from mlflow.data.meta_dataset import MetaDataset

    source = CodeDatasetSource(tags={"pawflow.origin": origin})
    dataset = MetaDataset(source, name=name, digest=digest[:32])  # type: ignore[abstract]
    mlflow.log_input(dataset, context=context)


def log_files(folder: Path) -> None:
    """Store the files of a folder as artifacts of the open run."""
    import mlflow

    mlflow.log_artifacts(str(folder))


def log_outcome(job: str, metrics: dict[str, float], tags: dict[str, str]) -> None:
    """Write what a pipeline run came to into its parent run, where a list of runs shows it."""
    import mlflow

    run_id = find_pipeline_run(job)
    if run_id is not None:
        mlflow.log_metrics(metrics, run_id=run_id)
        for name, value in tags.items():
            mlflow.MlflowClient().set_tag(run_id, name, value[:_LONGEST_TAG])


def pipeline_tag(job: str, name: str) -> str:
    """A tag of the parent run of a pipeline job; "unknown" where there is none."""
    import mlflow

    run_id = find_pipeline_run(job)
    return str(mlflow.get_run(run_id).data.tags.get(name, "unknown")) if run_id else "unknown"
