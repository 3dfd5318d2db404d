"""The versions that results depend on, checked before anything runs."""

from __future__ import annotations

import importlib.metadata

from packaging.version import Version

from components.common.errors import PawflowError

OLDEST_KFP = "2.17.0"


def require_kfp(installed: str | None = None) -> None:
    """Refuse a Kubeflow Pipelines SDK whose local runner skips every condition and still reports success.

    Raises:
        PawflowError: `installed` (by default the version in this environment) is older than `OLDEST_KFP`.
    """
    installed = installed or importlib.metadata.version("kfp")
    if Version(installed) < Version(OLDEST_KFP):
        raise PawflowError(
            f"kfp {installed} is installed, but pawflow needs {OLDEST_KFP} or newer: older local runners skip `dsl.If`, so no model would "
            f"ever be promoted. Run `make setup`, or `pip install 'kfp>={OLDEST_KFP}'`"
        )
