"""What goes wrong around a run, in words: a full disk, a folder that may not be written, a tracking server that is away.

In: any exception. Out: a `PawflowError` with the remedy if it, or what led to it, is of that kind; every other one is a bug and stays as
it is. Entries of the cache are whole or not there, so after the remedy the same command continues.
"""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Iterator

import requests

from components.common.errors import PawflowError, UnreachableError

_AGAIN = "then type the same command again"
#: What the operating system refuses, and what helps.
_REFUSALS = {
    errno.ENOSPC: "the disk is full; free some space",
    errno.EDQUOT: "the disk quota is used up; free some space",
    errno.EFBIG: "a file may not grow that large (`ulimit -f`, or the file system's limit); raise the limit",
    errno.EROFS: "the file system is read-only; make it writable, or set PAWFLOW_HOME to a folder on another",
    errno.EACCES: "this user may not read or write there; change the rights, or set PAWFLOW_HOME to another folder",
    errno.EIO: "the disk does not read or write what it should; look at the system's log",
    errno.EMFILE: "too many files are open (`ulimit -n`); raise the limit",
}
#: Parts of what SQLite says when its file cannot be written, or is not whole.
_SQLITE = ("disk is full", "readonly database", "unable to open", "disk I/O error", "database is locked", "malformed", "not a database")
#: What it says when MLflow was interrupted while it made or upgraded its tables.
_HALF_MADE = ("already exists", "no such table", "duplicate column")
#: Codes of MLflow's errors that are the server's own trouble.
_OF_SERVER = ("INTERNAL_ERROR", "TEMPORARILY_UNAVAILABLE")


class OutageError(UnreachableError):
    """The tracking server is away, and its client has waited for it in vain."""


def explain(error: BaseException) -> PawflowError | None:
    """The error that people are meant to read, or None if there is none to be had."""
    of_mlflow = False
    for cause, is_incidental in _chain(error):
        # One that was being handled when something else went wrong does not explain that.
        if isinstance(cause, PawflowError) and not is_incidental:
            return cause
        of_mlflow = of_mlflow or type(cause).__module__.startswith("mlflow.")
        # An answer that broke off does not say what had been asked; that MLflow's client made an error of its own of it does.
        if isinstance(cause, requests.RequestException) and (of_mlflow or _is_for_mlflow(cause)):
            return _describe_outage(cause)
        if type(cause).__name__ == "RestException" and getattr(cause, "error_code", "") in _OF_SERVER:
            return _describe_outage(cause)
        if isinstance(cause, OSError) and cause.errno in _REFUSALS:
            where = f" at {cause.filename}" if cause.filename else ""
            return PawflowError(f"{os.strerror(cause.errno)}{where}: {_REFUSALS[cause.errno]}, {_AGAIN}")
        if isinstance(cause, sqlite3.Error):
            store = f"MLflow's store {os.environ.get('MLFLOW_TRACKING_URI', '')}"
            if any(part in str(cause) for part in _SQLITE):
                return PawflowError(f"{store} cannot be used ({cause}); mend that, {_AGAIN}")
            if any(part in str(cause) for part in _HALF_MADE):
                return PawflowError(
                    f"{store} is half made ({cause}), because something interrupted that; remove it if it is new, or restore it, {_AGAIN}"
                )
    return None


def _chain(error: BaseException) -> Iterator[tuple[BaseException, bool]]:
    """The error and what led to it, and whether that was only being handled at the time, on the way from one to the other."""
    seen: list[BaseException] = []
    current: BaseException | None = error
    is_incidental = False
    # What is raised again "from" what it led to makes a circle.
    while current is not None and current not in seen:
        yield current, is_incidental
        seen.append(current)
        is_incidental = is_incidental or current.__cause__ is None
        current = current.__cause__ or (None if current.__suppress_context__ else current.__context__)


def _is_for_mlflow(error: requests.RequestException) -> bool:
    address = os.environ.get("MLFLOW_TRACKING_URI", "")
    return address.startswith("http") and str(getattr(error.request, "url", "")).startswith(address.rstrip("/"))


def _describe_outage(cause: BaseException) -> OutageError:
    reason = str(cause).splitlines()[0][:300]
    return OutageError(
        f"the MLflow server at {os.environ.get('MLFLOW_TRACKING_URI', '')} was away, or failed, for longer than its client waits "
        f"(MLFLOW_HTTP_REQUEST_MAX_RETRIES says how long; {reason}); start it, {_AGAIN}"
    )
