"""A clone of the project in which the commands of a document are run, with the servers that they start."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from pathlib import Path

from tests.docs.reading import expand_make, read_commands
from tests.processes import ROOT, command_environment, running_server

#: What starts a server, and the address at which the documents have it.
_SERVERS = {"make serve": "http://127.0.0.1:5001", "make web": "http://127.0.0.1:5002"}
#: Seconds for one command, on a machine that is busy with much else.
_LONGEST = 1500.0


class Clone(ExitStack):
    """A folder in which commands run one after another, as in a clone that has been set up; leaving the context ends the servers."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder
        (folder / ".venv").symlink_to(sys.prefix)
        (folder / "infra").symlink_to(ROOT / "infra")
        self.environment = command_environment()
        self._addresses: dict[str, str] = {}

    def follow(self, document: str, changes: Mapping[str, str]) -> dict[str, str]:
        """Run those commands of a document that are keys of `changes`, changed as it says, and return what each printed."""
        return {command: self.run(changes[command] or command) for command in read_commands(document) if command in changes}

    def run(self, command: str) -> str:
        """Run one command; one that starts a server returns once that answers, at a free port which later commands then use."""
        written = next((address for start, address in _SERVERS.items() if command.startswith(start)), None)
        command = expand_make(command) if command.startswith("make ") else command
        if written:
            return self._serve(command, written)
        for address, used in self._addresses.items():
            command = command.replace(address, used)
        with subprocess.Popen(
            ["bash", "-c", command],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        ) as process:
            try:
                said, _ = process.communicate(timeout=_LONGEST)
            finally:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
        assert process.returncode == 0, f"{command}\n{said}"
        return said

    def _serve(self, command: str, written: str) -> str:
        command = f"exec {re.sub(r' --port [0-9]+', '', command)} --port 0"
        log = self.folder / f"server-{len(self._addresses)}.log"
        self._addresses[written] = self.enter_context(running_server(["bash", "-c", command], log, self.environment)).address
        return ""
