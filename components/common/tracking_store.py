"""Where MLflow keeps runs and the registry: which store that is, and whether it answers.

In: `MLFLOW_TRACKING_URI` and the credentials beside it. Out: an environment in which MLflow finds its store, or a sentence on why not.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path
from urllib.parse import urlsplit

import requests

from components.common.errors import PawflowError, state_cause

#: What a tracking server's refusal means.
_REFUSALS = {
    401: "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN, to what it accepts",
    403: "it does not know itself by the name {host}, so start it with `--allowed-hosts {host}`, or this user may not read experiments",
}


def configure() -> None:
    """Choose the store (`MLFLOW_TRACKING_URI`, else sqlite in the current folder) and silence what only developers of MLflow need."""
    os.environ.setdefault("MLFLOW_TRACKING_URI", f"sqlite:///{Path('mlflow.db').absolute()}")
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
    # A server with artifacts in S3 hands out links to its store, which need not be in reach; through the server all always are.
    os.environ.setdefault("MLFLOW_ENABLE_PROXY_MULTIPART_DOWNLOAD", "false")
    os.environ.setdefault("MLFLOW_ENABLE_PROXY_MULTIPART_UPLOAD", "false")
    logging.getLogger("mlflow").setLevel(logging.ERROR)
    logging.getLogger("alembic").setLevel(logging.ERROR)


def require_server() -> str:
    """Check that a tracking server answers, before MLflow's own retries would wait for it in silence for minutes; returns its address.

    Raises:
        PawflowError: `MLFLOW_TRACKING_URI` is an address at which nothing answers, or which refuses.
    """
    configure()
    address = os.environ["MLFLOW_TRACKING_URI"]
    if not address.startswith(("http://", "https://")):
        return address
    user, password, token = (os.environ.get(f"MLFLOW_TRACKING_{name}", "") for name in ("USERNAME", "PASSWORD", "TOKEN"))
    # Not /health, which any caller may ask by any name.
    question = f"{address.rstrip('/')}/api/2.0/mlflow/experiments/search?max_results=1"
    try:
        answer = requests.get(
            question,
            auth=(user, password) if user else None,
            headers={"Authorization": f"Bearer {token}"} if token else {},
            timeout=10,
        )
    except requests.RequestException as error:
        raise PawflowError(
            f"no MLflow server answers at MLFLOW_TRACKING_URI={address} ({state_cause(error)}); start it, or correct the address"
        ) from error
    if answer.status_code in _REFUSALS:
        remedy = _REFUSALS[answer.status_code].format(host=urlsplit(address).netloc)
        raise PawflowError(f"the MLflow server at {address} refuses (status {answer.status_code}): {remedy}")
    if not answer.ok:
        raise PawflowError(f"{address} answers with status {answer.status_code}, as no MLflow server does; correct MLFLOW_TRACKING_URI")
    return address
