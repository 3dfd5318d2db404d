"""Names of files from strangers: what a name may be, and what a folder may hold.

In: names as an archive, a folder or an object store gives them. Out: the same names, known to be plain relative paths that can be
printed, stored in a table and used on any system.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from components.common.errors import PawflowError

#: Longest name, in characters: what the file systems in use allow.
MAX_NAME_LENGTH = 4096


def refuse(archive: str, finding: str, remedy: str) -> PawflowError:
    """The error that says why an archive is not read."""
    return PawflowError(f"{archive} is refused: {finding}; {remedy}")


def show(name: str) -> str:
    """A name as it can be printed."""
    return ascii(name if len(name) <= 80 else f"{name[:80]}...")


def check_name(name: str, archive: str) -> None:
    """Check that a name is a plain relative path.

    Raises:
        PawflowError: It is absolute, leads out of the archive, or holds characters that no file name should.
    """
    parts = name.replace("\\", "/").split("/")
    if not name or len(name) > MAX_NAME_LENGTH:
        problem = f"is {len(name):,} characters long, expected 1 to {MAX_NAME_LENGTH:,}"
    elif parts[0] == "" or parts[0][1:2] == ":":
        problem = "is an absolute path"
    elif ".." in parts:
        problem = "leads out of the archive"
    elif any(ord(character) < 32 or ord(character) == 127 or 0xD800 <= ord(character) < 0xE000 for character in name):
        problem = "holds control characters or is not UTF-8"
    else:
        return
    raise refuse(archive, f"the name of its member {show(name)} {problem}", "rename the file and pack it again")


def _walk(folder: Path) -> Iterator[Path]:
    """Everything below a folder; one that cannot be read is an error, where `rglob` would pass it over."""

    def fail(error: OSError) -> None:
        raise error

    for parent, folders, files in os.walk(folder, onerror=fail):
        yield from (Path(parent, name) for name in (*folders, *files))


def list_folder(folder: Path) -> Iterator[tuple[str, Path]]:
    """Yield name and path of every file below a folder, sorted, following links only where they stay inside.

    Raises:
        PawflowError: A link leads out of the folder or to another folder, or something is neither file nor folder.
    """
    root = folder.resolve()
    for path in sorted(_walk(folder)):
        name = path.relative_to(folder).as_posix()
        check_name(name, folder.name)
        if path.is_symlink():
            try:
                target = path.resolve()
            except RuntimeError as error:
                raise refuse(folder.name, f"{show(name)} is a link that leads to itself", "take it out of the folder") from error
            if not (target.is_relative_to(root) and target.is_file()):
                finding = f"{show(name)} is a link to {show(str(target))}"
                raise refuse(folder.name, finding, "only links to files inside the folder are followed; copy what it points to")
        if path.is_file():
            yield name, path
        elif not path.is_dir():
            raise refuse(folder.name, f"{show(name)} is neither a file nor a folder", "take it out of the folder")
