"""The training curves of a pipeline run, fetched from MLflow for TensorBoard, those of each candidate under its name.

From MLflow, so that a run on a cluster is shown like one on this machine.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from components.common.errors import PawflowError
from components.common.store import home
from components.common.tracking import JOB_TAG

#: What the train step logs.
_LOGS = "tensorboard"
_NAME = "train.name"


def fetch_curves(run_id: str = "") -> tuple[str, Path]:
    """Fetch them; `run_id` is that of a pipeline run in MLflow, by default of the newest that has curves.

    Returns:
        The run's name, and a folder with one of `train` and of `validation` for each candidate that has been trained.

    Raises:
        PawflowError: MLflow has no such run, or no candidate of it has been trained yet.
    """
    import mlflow

    if run_id:
        try:
            runs = [mlflow.get_run(run_id)]
        except mlflow.exceptions.MlflowException as error:
            raise PawflowError(f"MLflow has no run {run_id} ({error}); `make ui` shows those that it has") from error
    else:
        runs = mlflow.search_runs(search_all_experiments=True, filter_string=f"tags.`{JOB_TAG}` != ''", output_format="list")
    for run in runs:
        folder = home() / _LOGS / run.info.run_id
        if _fetch(run.info.run_id, folder):
            return run.info.run_name, folder
    which = f"of run {run_id}: no candidate of it has been trained" if run_id else "yet: start a run with `make run`"
    raise PawflowError(f"there are no training curves {which}")


def _fetch(run_id: str, folder: Path) -> bool:
    import mlflow

    trainings = mlflow.search_runs(
        search_all_experiments=True,
        filter_string=f"tags.`mlflow.parentRunId` = '{run_id}' and params.`{_NAME}` LIKE '%'",
        output_format="list",
    )
    client = mlflow.MlflowClient()
    finished = [training for training in trainings if client.list_artifacts(training.info.run_id, _LOGS)]
    for training in finished:
        with tempfile.TemporaryDirectory() as fetched:
            logs = mlflow.artifacts.download_artifacts(run_id=training.info.run_id, artifact_path=_LOGS, dst_path=fetched)
            shutil.copytree(logs, folder / training.data.params[_NAME], dirs_exist_ok=True)
    return bool(finished)
