"""What a pipeline run records about where it comes from: the code's commit and the versions of the libraries that decide results."""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
from pathlib import Path

_LIBRARIES = ("kfp", "mlflow", "keras", "scikit-learn", "onnxruntime", "numpy", "pillow")


def describe_code() -> dict[str, str]:
    """Tags for the run: the commit ("unknown" outside a checkout) under MLflow's own name for it, and `pawflow.version.<library>`.

    Containers hold no checkout, so their images name the commit in `PAWFLOW_COMMIT`.
    """
    commit = os.environ.get("PAWFLOW_COMMIT")
    if not commit:
        dirty = "-dirty" if _git("status", "--porcelain", "--untracked-files=no") else ""
        commit = (_git("rev-parse", "HEAD") or "unknown") + dirty
    return {"mlflow.source.git.commit": commit, **{f"pawflow.version.{name}": importlib.metadata.version(name) for name in _LIBRARIES}}


def _git(*arguments: str) -> str:
    try:
        command = ["git", "-C", str(Path(__file__).parent), *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""
