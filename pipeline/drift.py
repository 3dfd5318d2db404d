"""What a running gateway says of the photos that it was asked about, as a table: `python -m pipeline drift --url http://127.0.0.1:5002`."""

from __future__ import annotations

import os
from typing import Any

import requests
from rich.box import SIMPLE_HEAD
from rich.console import Console as Terminal
from rich.table import Table

from components.common.errors import PawflowError, state_cause

_PATIENCE = 20.0


def read_drift(url: str) -> dict[str, Any]:
    """What `/drift` answers; the key, if the gateway wants one, is taken from `PAWFLOW_API_KEY`.

    Raises:
        PawflowError: There is no gateway at the address, or it refuses.
    """
    address, key = f"{url.rstrip('/')}/drift", os.environ.get("PAWFLOW_API_KEY", "")
    try:
        response = requests.get(address, headers={"X-API-Key": key} if key else {}, timeout=_PATIENCE)
    except requests.RequestException as error:
        raise PawflowError(
            f"no gateway answers at {address} ({state_cause(error)}); start one with `make web`, or correct --url"
        ) from error
    if response.status_code == 401:
        raise PawflowError(f"{address} wants its API key; set PAWFLOW_API_KEY")
    try:
        told = response.json()
    except ValueError:
        told = response.text
    if not response.ok or not isinstance(told, dict) or "versions" not in told:
        raise PawflowError(f"{address} answered with status {response.status_code}: {str(told)[:200]}; is it a gateway of this project?")
    return told


def find_moved(told: dict[str, Any]) -> list[str]:
    """What has moved, as `alias: measure`."""
    return [f"{version['alias']}: {drift['name']}" for version in told["versions"] for drift in version["measures"] if drift["moved"]]


def show_drift(told: dict[str, Any], terminal: Terminal) -> None:
    """Print counts and a table for each version."""
    for version in told["versions"]:
        photos, labels = version["photos"], ", ".join(f"{count} {name}" for name, count in version["labels"].items() if count)
        title = f"[bold]{told['model']} {version['alias']}[/bold], version {version['version']}, loaded {version['since']}"
        terminal.print(title, highlight=False)
        terminal.print(f"{photos} photos: {labels or 'none yet'}; {version['not_sure']} not sure", highlight=False)
        if version["reference_photos"] is None:
            terminal.print("no readable reference, so nothing can be said of drift", highlight=False)
            continue
        terminal.print(f"the last {version['recent_photos']} against {version['reference_photos']} held-out photos", highlight=False)
        if version["recent_photos"] < told["fewest"]:
            terminal.print(f"too few to say what has moved: {told['fewest']} are needed", highlight=False)
        table = Table("measure", "index", "limit", "", box=SIMPLE_HEAD)
        for drift in version["measures"]:
            moved = "[yellow]moved[/yellow]" if drift["moved"] else ""
            table.add_row(drift["name"].replace("_", " "), f"{drift['index']:.3f}", f"{drift['limit']:.2f}", moved)
        terminal.print(table)
