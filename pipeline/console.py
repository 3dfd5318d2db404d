"""What a person sees of a local run: the steps' own lines, with the time, and nothing else; the full log goes to a file.

The local runner prints its own messages and those of every task to standard output. `Console` takes its place for the length of a run,
shows the lines that a step has marked as its own (see `components.common.progress`), and writes every line to the log.
"""

from __future__ import annotations

import contextlib
import io
import logging
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from rich.console import Console as Terminal
from rich.text import Text

from components.common.progress import MARK

_STYLES = {"error": "bold red", "failed": "bold red", "done": "green", "reused": "cyan"}
_LABEL_WIDTH = 34


class Console(io.TextIOBase):
    """A text stream that sorts the lines written to it.

    Attributes:
        num_errors: Errors in the steps' own words so far.
        num_killed: Tasks that the system, or somebody, has killed.
    """

    def __init__(self, terminal: Terminal, log: TextIO, *, only_errors: bool = False) -> None:
        self._terminal, self._log, self._only_errors = terminal, log, only_errors
        self._started = time.monotonic()
        self._lock = threading.Lock()
        self._unfinished: dict[int, str] = {}
        self.num_errors = self.num_killed = 0

    def write(self, text: str) -> int:
        """Take text from any thread; whole lines are passed on."""
        with self._lock:
            # A full disk is the steps' to report; what they say must get through all the same.
            with contextlib.suppress(OSError):
                self._log.write(text)
                self._log.flush()
            thread = threading.get_ident()
            *lines, rest = (self._unfinished.get(thread, "") + text).split("\n")
            self._unfinished[thread] = rest
            for line in lines:
                self._show(line)
        return len(text)

    def _show(self, line: str) -> None:
        before, mark, message = line.partition(MARK)
        # The local runner indents what tasks print.
        if not mark or before.strip():
            # So says the shell that the local runner starts a task in.
            self.num_killed += "Killed" in line.split()
            return
        label, _, said = message.partition("| ")
        is_error = said.startswith("error: ")
        self.num_errors += is_error
        if self._only_errors and not is_error:
            return
        minutes, seconds = divmod(int(time.monotonic() - self._started), 60)
        style = _STYLES.get(said.split(" ", 1)[0].rstrip(":"), "")
        self._terminal.print(
            Text.assemble((f"{minutes:02d}:{seconds:02d} ", "dim"), (label.ljust(_LABEL_WIDTH), "bold"), (said, style)), soft_wrap=True
        )


@contextlib.contextmanager
def shown(terminal: Terminal, log: Path, *, only_errors: bool = False) -> Iterator[Console]:
    """Send standard output, and what libraries log, through a `Console` while the body runs."""
    with log.open("w") as stream:
        console = Console(terminal, stream, only_errors=only_errors)
        with contextlib.redirect_stdout(console), _logged_to(console):
            yield console


@contextlib.contextmanager
def _logged_to(console: Console) -> Iterator[None]:
    # Between its own tasks the local runner logs without a handler, for which Python makes one that writes to standard error.
    logger = logging.getLogger()
    before, logger.handlers[:] = logger.handlers[:], [logging.StreamHandler(console)]
    try:
        yield
    finally:
        logger.handlers[:] = before
