"""Whether the rules allow a version to become champion, and a sentence once it has.

The rules read what the register step wrote on the version, so the pipeline and a person at the command line obey the same ones.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from components.common.errors import PawflowError
from components.common.files import VERDICT_FILE


def read_verdict(folder: Path) -> dict[str, Any]:
    """The register step's `verdict.json`.

    Raises:
        PawflowError: The folder is not that step's output.
    """
    path = folder / VERDICT_FILE
    if not path.is_file():
        raise PawflowError(f"{folder} holds no {VERDICT_FILE}; expected the output folder of the register step")
    verdict: dict[str, Any] = json.loads(path.read_text())
    return verdict


def list_objections(tags: Mapping[str, str], champion: str | None) -> list[str]:
    """Why a version must not become champion; empty if it may.

    Args:
        tags: Of the version, as the register step wrote them; see `registry.Entry`.
        champion: Number of today's champion.
    """
    objections = []
    if tags.get("promote") != "true":
        objections.append(f"its verdict does not allow a promotion: {tags.get('verdict', 'it has none')}")
    if tags.get("certificate") != "holds":
        objections.append("it has no parity certificate, so nobody knows whether it answers as it was judged")
    if "rolled_back" in tags:
        objections.append(f"it was rolled back: {tags['rolled_back']}")
    judged_against = tags.get("champion_before") or None
    if judged_against != champion:
        objections.append(f"it was compared with champion {judged_against or 'none'}, but the champion is now {champion or 'none'}")
    return objections


def announce(model: str, version: str, before: str | None) -> str:
    """A sentence about the change of champion."""
    return f"{model} version {version} is the champion now" + (f"; version {before} is kept as `previous`" if before else "")
