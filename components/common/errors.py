"""The one exception that people are meant to read.

Raise `PawflowError` for anything a user can put right: its message says what came, what was expected and what to do next. The
command line prints that message alone; every other exception is a bug and keeps its stack trace in the log.
"""

from __future__ import annotations


class PawflowError(Exception):
    """A problem that the user can put right; the message is shown without a stack trace."""


class StoppedError(PawflowError):
    """A signal asked to stop: nothing is wrong with what was being done, and the same command goes on with it."""


class UnreachableError(PawflowError):
    """A server that the work needs cannot be reached or used now, whatever the work is; later it may be."""
