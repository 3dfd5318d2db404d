"""The one exception that people are meant to read.

Raise `PawflowError` for anything a user can put right: its message says what came, what was expected and what to do next. The
command line prints that message alone; every other exception is a bug and keeps its stack trace in the log.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable


class PawflowError(Exception):
    """A problem that the user can put right; the message is shown without a stack trace."""


class StoppedError(PawflowError):
    """A signal asked to stop: nothing is wrong with what was being done, and the same command goes on with it."""


class UnreachableError(PawflowError):
    """A server that the work needs cannot be reached or used now, whatever the work is; later it may be."""


def state_cause(error: BaseException) -> str:
    """What is behind an error of a network library, in a few words: they wrap one another, and each repeats the whole address."""
    said = list[str]()
    while inner := next((one for one in (getattr(error, "reason", None), *error.args) if isinstance(one, BaseException)), None):
        # What stands beside the cause is no repetition: that it was the proxy which did not answer, say.
        said += [one.rstrip(".") for one in error.args if isinstance(one, str) and inner in error.args]
        error = inner
    texts = [one for one in error.args if isinstance(one, str)]
    text = texts[-1] if texts and not isinstance(error, OSError) else str(error)
    text = re.sub(r"^<?[\w.]+\(.*?\)>?: ", "", text)
    # What another protocol answered, which a terminal would obey.
    text = text if text.replace("\n", "").isprintable() else ascii(text)
    return ": ".join([*said, text or type(error).__name__])


def list_known(name: object, known: Iterable[str]) -> str:
    """The end of a message about a name that there is not: those that exist, after the one that was probably meant."""
    names = list(known)
    close = difflib.get_close_matches(str(name), names, 1)
    return f"; did you mean {close[0]!r}? Known ones: {', '.join(names)}" if close else f"; known ones: {', '.join(names)}"
