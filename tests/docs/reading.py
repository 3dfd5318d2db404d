"""What the documents tell people to type: commands stand in `sh` blocks, whatever else in blocks of another language."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from collections.abc import Iterator, Mapping
from typing import Any

from tests.processes import ROOT

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


def read_answers(said: Mapping[str, str]) -> list[dict[str, Any]]:
    """The JSON that each call of `curl` printed, whatever it said besides."""
    return [json.JSONDecoder().raw_decode(text[text.index("{") :])[0] for command, text in said.items() if "curl" in command]
