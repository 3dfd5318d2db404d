"""What the documents tell people to type, and running it: commands stand in `sh` blocks, whatever else in blocks of another language."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
#: Every document of the project, by its path.
DOCUMENTS = sorted(
    {
        *(path.relative_to(ROOT).as_posix() for path in ROOT.glob("*.md")),
        *(
            path.relative_to(ROOT).as_posix()
            for folder in ("docs", "components", "infra", "benchmarks")
            for path in ROOT.glob(f"{folder}/**/*.md")
        ),
    }
)
#: What starts a server, and the port that it listens on.
_SERVERS = {"make serve": 5001, "make web": 5002}
#: Seconds until a server listens, and for one command, on a machine that is busy with much else.
_PATIENCE, _LONGEST = 240.0, 1500.0


def read_blocks(document: str) -> list[tuple[str, str]]:
    """Language and content of each block of code, in order."""
    blocks = re.finditer(r"^( *)```(\w*)\n(.*?)^ *```$", (ROOT / document).read_text(), re.S | re.M)
    return [(block[2], re.sub(f"^{block[1]}", "", block[3], flags=re.M)) for block in blocks]


def read_commands(document: str) -> list[str]:
    """The commands of a document, in order, each without the comment behind it."""
    return [command for language, block in read_blocks(document) if language == "sh" for command in _split(block)]


def _split(block: str) -> Iterator[str]:
    """Whole commands, which bash itself tells from halves: an open quote, a loop or a here-document goes on in the next line."""
    command = ""
    for line in block.splitlines():
        command += line
        checked = subprocess.run(["bash", "-n"], input=command, capture_output=True, text=True)
        if command.endswith(("\\", "|")) or checked.returncode or checked.stderr:
            command += "\n"
        elif command.strip():
            yield command if "\n" in command else re.sub(r"\s+#\s.*$", "", command.strip())
            command = ""
    assert not command.strip(), f"not a whole command: {command}"


def expand_make(command: str) -> str:
    """What `make` would run, without running it; the environment counts as made.

    Raises:
        CalledProcessError: There is no such target.
    """
    dry = ["make", "--dry-run", "--no-print-directory", "--assume-old=.venv/.ready", "--assume-old=.venv/.stack", *shlex.split(command)[1:]]
    return subprocess.run(dry, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()


def parse(command: Any, arguments: list[str]) -> dict[str, Any]:
    """Parameters of the sub-command that is named; a usage error if it has no such option."""
    while hasattr(command, "commands"):
        name, *arguments = arguments
        assert name in command.commands, name
        command = command.commands[name]
    return dict(command.make_context("command", list(arguments)).params)


class Workspace:
    """A folder in which a document's commands run one after another, as in a clone of the project that has been set up."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / ".venv").symlink_to(sys.prefix)
        (folder / "infra").symlink_to(ROOT / "infra")
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW", "PAWFLOW"))}
        path = f"{Path(sys.executable).parent}{os.pathsep}{inherited['PATH']}"
        self.environment = {**inherited, "PATH": path, "PYTHONPATH": str(ROOT), "COLUMNS": "160", "MLFLOW_DISABLE_TELEMETRY": "true"}
        self._ports: dict[int, int] = {}
        self._servers: list[subprocess.Popen[Any]] = []

    def follow(self, document: str, changes: Mapping[str, str]) -> dict[str, str]:
        """Run those commands of a document that are keys of `changes`, changed as it says, and return what each printed."""
        return {command: self.run(changes[command] or command) for command in read_commands(document) if command in changes}

    def run(self, command: str) -> str:
        """Run one command; one that starts a server returns once that listens, on a free port which later commands then use."""
        port = next((port for start, port in _SERVERS.items() if command.startswith(start)), None)
        command = expand_make(command) if command.startswith("make ") else command
        if port:
            return self._serve(command, port)
        for written, used in self._ports.items():
            command = command.replace(f"127.0.0.1:{written}", f"127.0.0.1:{used}")
        with self._start(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
            try:
                said, _ = process.communicate(timeout=_LONGEST)
            finally:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
        assert process.returncode == 0, f"{command}\n{said}"
        return str(said)

    def _start(self, command: str, **options: Any) -> subprocess.Popen[Any]:
        return subprocess.Popen(["bash", "-c", command], cwd=self.folder, env=self.environment, start_new_session=True, **options)

    def _serve(self, command: str, port: int) -> str:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._ports[port] = free.getsockname()[1]
        command = f"exec {re.sub(r' --port [0-9]+', '', command)} --port {self._ports[port]}"
        server = self._start(command)
        self._servers.append(server)
        deadline = time.monotonic() + _PATIENCE
        while True:
            assert server.poll() is None, f"{command} ended"
            assert time.monotonic() < deadline, f"{command} does not listen"
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self._ports[port])) == 0:
                    return ""
            time.sleep(0.2)

    def close(self) -> None:
        """End the servers."""
        for server in self._servers:
            os.killpg(server.pid, signal.SIGTERM)
            server.wait(20)


@contextmanager
def workspace(folder: Path) -> Iterator[Workspace]:
    """A workspace whose servers end with the block."""
    made = Workspace(folder)
    try:
        yield made
    finally:
        made.close()


def read_answers(said: Mapping[str, str]) -> list[dict[str, Any]]:
    """The JSON that each call of `curl` printed, whatever it said besides."""
    return [json.JSONDecoder().raw_decode(text[text.index("{") :])[0] for command, text in said.items() if "curl" in command]
