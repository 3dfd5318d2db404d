"""What promotion reads and says: the verdict of the register step, and a sentence once the alias has moved."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from components.common.errors import PawflowError


def read_verdict(folder: Path) -> dict[str, Any]:
    """The register step's `verdict.json`.

    Raises:
        PawflowError: The folder is not that step's output.
    """
    path = folder / "verdict.json"
    if not path.is_file():
        raise PawflowError(f"{folder} holds no verdict.json; expected the output folder of the register step")
    verdict: dict[str, Any] = json.loads(path.read_text())
    return verdict


def announce(model: str, version: str, before: str | None) -> str:
    """A sentence about the change of champion."""
    return f"{model} version {version} is the champion now" + (f"; version {before} is kept as `previous`" if before else "")
