"""The command line of a step's `run()`: options from its signature, errors in words.

Every step has the same `__main__.py`; `mlflow run`, `docker run` and a person at a prompt all enter here.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from components.common.mishaps import explain
from components.common.progress import say

Result = TypeVar("Result")

#: Exit code for a problem that the user can put right, as against 1 for a bug.
USER_ERROR = 2

RecipeOption = Annotated[str, typer.Option(help="The recipe as JSON or YAML text, or the path of a recipe file.")]
JobOption = Annotated[str, typer.Option(help="Id of the pipeline run this belongs to; empty when run by hand.")]
OutOption = Annotated[Path, typer.Option(help="Folder to write the artifact to; created if it does not exist.")]
RawOption = Annotated[list[Path], typer.Option(help="Output folder of a download step, repeated; or the folder of all.")]
DatasetOption = Annotated[Path, typer.Option(help="Output folder of the fuse step.")]
ViewsOption = Annotated[Path, typer.Option(help="Output folder of the augment step.")]
CandidatesOption = Annotated[list[Path], typer.Option(help="Output folder of a train step, repeated; or the folder of all.")]
EvaluationOption = Annotated[Path, typer.Option(help="Output folder of the evaluate step.")]
VerdictOption = Annotated[Path, typer.Option(help="Output folder of the register step.")]


def quiet_libraries() -> None:
    """Tell TensorFlow and its compiled parts to report errors only; must happen before they are imported."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("GLOG_minloglevel", "2")
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")


def main(run: Callable[..., object]) -> None:
    """Run a step from the command line; what the user can put right ends it with a message and exit code 2."""
    attempt(lambda: typer.run(run))


def attempt(run: Callable[[], Result]) -> Result:
    """Run a step inside a Kubeflow task: the message of what the user can put right is printed before the task fails."""
    quiet_libraries()
    try:
        return run()
    except Exception as error:
        known = explain(error)
        if known is None:
            raise
        say(f"error: {known}")
        sys.exit(USER_ERROR)
