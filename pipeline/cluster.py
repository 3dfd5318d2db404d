"""The pipeline on Kubeflow Pipelines: compiled with a profile, run once, run on a schedule, or uploaded as a version.

In: a recipe and a `Profile`. Out: what the KFP API made of it. The client is kfp's own; this module adds words for what goes wrong.
"""

from __future__ import annotations

import io
import json
import logging
import os
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import kfp_server_api
import requests
from kfp import Client, compiler
from urllib3.exceptions import HTTPError

from components.common.errors import PawflowError, state_cause
from components.common.recipe import Recipe
from pipeline.profile import Profile
from pipeline.training import define_training
from pipeline.versions import require_kfp

ENDPOINT, TOKEN = "KF_PIPELINES_ENDPOINT", "KFP_TOKEN"
SUCCEEDED = "SUCCEEDED"

_NAME = "pawflow-training"
_ENDED = frozenset({SUCCEEDED, "FAILED", "CANCELED", "SKIPPED"})
_PATIENCE = 15.0
_CRON_FIELDS = ("second", "minute", "hour", "day of month", "month", "day of week")


@dataclass(frozen=True)
class Submitted:
    """A run on the cluster.

    Attributes:
        run_id: KFP's.
        link: Of its page.
    """

    run_id: str
    link: str


def compile_pipeline(output: Path, profile: Profile, parallelism: int = 0) -> None:
    """Write the pipeline as YAML for Kubeflow Pipelines.

    Args:
        output: File to write.
        profile: What each task gets.
        parallelism: How many candidates may train at the same time; 0 for all.
    """
    require_kfp()
    compiler.Compiler().compile(define_training(parallelism or None, profile), str(output))


class Cluster:
    """A Kubeflow Pipelines installation.

    Attributes:
        host: Address of its API.
    """

    def __init__(self, profile: Profile) -> None:
        """Reach the API.

        Raises:
            PawflowError: No address is known, or what is there does not answer as a KFP API.
        """
        self._profile = profile
        host = profile.host or os.environ.get(ENDPOINT)
        if not host:
            raise PawflowError(
                f"no address of a Kubeflow Pipelines API is known: pass --host, set {ENDPOINT}, or set `host` in the profile; "
                "after `kubectl port-forward -n kubeflow svc/ml-pipeline-ui 8080:80` it is http://localhost:8080"
            )
        self.host, token = host.rstrip("/"), os.environ.get(TOKEN)
        _require_api(self.host, token)
        # kfp tells of each attempt and of each wait.
        logging.getLogger().setLevel(logging.WARNING)
        with self._in_words(), warnings.catch_warnings():
            # That it is made for the second version of the API, whenever it is made.
            warnings.simplefilter("ignore", FutureWarning)
            self._client = Client(host=self.host, namespace=profile.namespace or "kubeflow", existing_token=token)

    def submit(self, recipe: Recipe, name: str) -> Submitted:
        """Start a run of a recipe.

        Args:
            recipe: The experiment.
            name: Of the run.
        """
        with self._compiled(recipe) as package, self._in_words():
            run = self._client.run_pipeline(self._experiment(), name, package, _arguments(recipe), **self._options())
        return Submitted(run.run_id, f"{self.host}/#/runs/details/{run.run_id}")

    def wait(self, run_id: str, report: Callable[[str], object], interval: float = 10.0) -> str:
        """Wait until a run has ended; returns its final state.

        kfp's own waiting does not end when a run is cancelled.

        Args:
            run_id: KFP's.
            report: Gets each state that the run enters.
            interval: Seconds between two questions.
        """
        state = ""
        while state not in _ENDED:
            with self._in_words():
                found = str(self._client.get_run(run_id).state or "PENDING").upper()
            if found != state:
                report(found)
            elif found not in _ENDED:
                time.sleep(interval)
            state = found
        return state

    def schedule(self, recipe: Recipe, name: str, cron: str, *, concurrency: int = 1, catch_up: bool = False) -> str:
        """Have a recipe run again and again; returns the id of the recurring run.

        Args:
            recipe: The experiment.
            name: Of the recurring run.
            cron: When, in six fields: second, minute, hour, day of month, month, day of week.
            concurrency: How many of its runs may be under way at the same time.
            catch_up: Whether runs that were missed, while it was paused perhaps, are made up for.

        Raises:
            PawflowError: `cron` has another number of fields, or the cluster refuses.
        """
        fields = cron.split()
        if len(fields) != len(_CRON_FIELDS):
            remedy = f"; with a second before it, yours would be '0 {cron}'" if len(fields) == len(_CRON_FIELDS) - 1 else ""
            raise PawflowError(f"the cron expression {cron!r} has {len(fields)} fields, expected 6: {', '.join(_CRON_FIELDS)}{remedy}")
        with self._compiled(recipe) as package, self._in_words():
            recurring = self._client.create_recurring_run(
                self._experiment(),
                name,
                cron_expression=cron,
                max_concurrency=concurrency,
                no_catchup=not catch_up,
                pipeline_package_path=package,
                params=_arguments(recipe),
                **self._options(),
            )
        return str(recurring.recurring_run_id)

    def upload(self, version: str) -> str:
        """Make the pipeline, or a further version of it, known to the cluster; returns the id of the version.

        Args:
            version: Its name; a name that is taken is refused.
        """
        with tempfile.TemporaryDirectory() as folder, self._in_words():
            package = Path(folder, f"{_NAME}.yaml")
            compile_pipeline(package, self._profile)
            pipeline = self._client.get_pipeline_id(_NAME)
            if pipeline is None:
                pipeline = self._client.upload_pipeline(str(package), _NAME, namespace=self._profile.namespace).pipeline_id
            return str(self._client.upload_pipeline_version(str(package), version, pipeline_id=pipeline).pipeline_version_id)

    def _experiment(self) -> str:
        return str(self._client.create_experiment(self._profile.experiment, namespace=self._profile.namespace).experiment_id)

    def _options(self) -> dict[str, Any]:
        profile = self._profile
        return {"pipeline_root": profile.pipeline_root, "enable_caching": profile.cache, "service_account": profile.service_account}

    @contextmanager
    def _compiled(self, recipe: Recipe) -> Iterator[str]:
        with tempfile.TemporaryDirectory() as folder:
            package = Path(folder, f"{_NAME}.yaml")
            compile_pipeline(package, self._profile, recipe.parallelism)
            yield str(package)

    @contextmanager
    def _in_words(self) -> Iterator[None]:
        try:
            # kfp prints links of its own.
            with redirect_stdout(io.StringIO()):
                yield
        except kfp_server_api.ApiException as error:
            raise PawflowError(f"Kubeflow Pipelines at {self.host} refuses: {_read_refusal(error)}") from error
        except (HTTPError, requests.RequestException, RuntimeError, ValueError) as error:
            raise PawflowError(f"Kubeflow Pipelines at {self.host} cannot be used: {error}") from error


def _arguments(recipe: Recipe) -> dict[str, Any]:
    return {
        "recipe": recipe.model_dump_json(),
        "sources": [source.name for source in recipe.sources.archives],
        "candidates": [candidate.name for candidate in recipe.candidates],
    }


def _require_api(host: str, token: str | None) -> None:
    address, headers = f"{host}/apis/v2beta1/healthz", {"Authorization": f"Bearer {token}"} if token else {}
    try:
        answer = requests.get(address, headers=headers, timeout=_PATIENCE, allow_redirects=False)
    except requests.RequestException as error:
        raise PawflowError(
            f"nothing answers at {host} ({state_cause(error)}); "
            "is it the address of the Kubeflow Pipelines API, and does a port-forward run?"
        ) from error
    if answer.status_code in (301, 302, 401, 403):
        raise PawflowError(f"{host} wants to know who you are (status {answer.status_code}); set {TOKEN} to a token that it accepts")
    if answer.status_code != 200 or not answer.headers.get("content-type", "").startswith("application/json"):
        raise PawflowError(f"{address} answers with status {answer.status_code} and no JSON; expected the address of a KFP 2 API")


def _read_refusal(error: kfp_server_api.ApiException) -> str:
    """The API's own sentence, without the trace that follows it."""
    text = str(error.body or error.reason)
    with suppress(ValueError, KeyError, TypeError):
        text = str(json.loads(text)["message"])
    return f"{text.splitlines()[0][:500]} (status {error.status})"
