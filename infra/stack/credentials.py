"""Passwords of a new team server: made once, kept in one file that only its owner reads.

    python3 -m infra.stack.credentials infra/compose/.env

In: the path of a file. Out: `NAME=value` lines; a file that exists keeps every value that it has, and gets those that it lacks. Needs
nothing but Python, because Compose's host may have nothing else.
"""

from __future__ import annotations

import os
import secrets
import sys
from pathlib import Path

#: What each is for stands in infra/README.md.
NAMES = (
    "POSTGRES_PASSWORD",
    "S3_ACCESS_KEY",
    "S3_SECRET_KEY",
    "MLFLOW_ADMIN_PASSWORD",
    "MLFLOW_READER_PASSWORD",
    "MLFLOW_SERVER_SECRET",
    "PAWFLOW_API_KEY",
)


def read(path: Path) -> dict[str, str]:
    """The values in a file of `NAME=value` lines; none if there is no file."""
    if not path.is_file():
        return {}
    lines = (line.partition("=") for line in path.read_text().splitlines() if "=" in line and not line.startswith("#"))
    return {name.strip(): value.strip() for name, _, value in lines}


def ensure(path: Path) -> dict[str, str]:
    """Read a file of credentials, after adding whatever it lacks; 192 random bits each."""
    values = read(path)
    added = {name: secrets.token_urlsafe(24) for name in NAMES if not values.get(name)}
    if added:
        path.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "a") as stream:
            stream.write("".join(f"{name}={value}\n" for name, value in added.items()))
    os.chmod(path, 0o600)
    return values | added


if __name__ == "__main__":
    ensure(Path(sys.argv[1]))
