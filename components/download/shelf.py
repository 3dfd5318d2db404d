"""Archives that were fetched once and are not fetched again: they outlive the step's own cache, which new code empties.

In: a key that names the content, and a function that fetches it. Out: a file that is complete and unaltered. Whoever else wants the same
one meanwhile waits and then shares it. What is half fetched stays under `<key>.part` for the next attempt, after a kill as well.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock

from components.common.archives import verify_archive
from components.common.errors import PawflowError
from components.common.progress import say
from components.common.store import hash_file, hash_values, home, link_or_copy


def keep(identity: dict[str, object], fetch: Callable[[Path], None], destination: Path) -> None:
    """Put an archive where it is wanted, fetching it if it is not here.

    Args:
        identity: What the content follows from.
        fetch: Writes the file that it is given, whose folder exists; it may find what an earlier attempt left there and beside it.
        destination: Where the archive is wanted; it gets a hard link where the file system allows.
    """
    shelf = home() / "cache" / "archives"
    shelf.mkdir(parents=True, exist_ok=True)
    key = hash_values(identity)[:32]
    archive, digest, part = shelf / key, shelf / f"{key}.json", shelf / f"{key}.part"
    with FileLock(shelf / f"{key}.lock"):
        if not _is_intact(archive, digest):
            fetch(part)
            _verify(part)
            digest.write_text(json.dumps({"sha256": hash_file(part), **identity}, default=str))
            part.rename(archive)
            for leftover in shelf.glob(f"{key}.part.*"):
                shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()
        link_or_copy(str(archive), str(destination))


def _verify(part: Path) -> None:
    try:
        verify_archive(part)
    except PawflowError:
        # Nothing that could be completed: the next attempt starts anew.
        part.unlink()
        raise


def _is_intact(archive: Path, digest: Path) -> bool:
    if not archive.is_file():
        return False
    try:
        if json.loads(digest.read_text())["sha256"] == hash_file(archive):
            return True
    except (OSError, ValueError, KeyError):
        pass
    say(f"the stored archive {archive} has been damaged; fetching it again")
    archive.unlink()
    return False
