"""Many files to one: a raw artifact is a few large files, because a cluster moves each file by itself.

In: files and the names that they should have. Out: a zip file that holds them as they are, uncompressed, since photos do not shrink; equal
files give equal bytes.
"""

from __future__ import annotations

import shutil
import stat
import zipfile
from collections.abc import Iterable
from pathlib import Path

from components.common.progress import track

#: The earliest date that a zip file can hold; a fixed one keeps archives equal byte for byte.
ZIP_DATE = (1980, 1, 1, 0, 0, 0)
ZIP_UNIX, ZIP_PERMISSIONS = 3, (stat.S_IFREG | 0o644) << 16
_CHUNK = 1 << 20


def describe_member(name: str) -> zipfile.ZipInfo:
    """The header of a member, without a trace of when and where it was packed."""
    member = zipfile.ZipInfo(name, ZIP_DATE)
    member.create_system, member.external_attr = ZIP_UNIX, ZIP_PERMISSIONS
    return member


def pack(files: Iterable[tuple[str, Path]], archive: Path) -> None:
    """Write files into a new zip file, in the order in which they come.

    Args:
        files: Name and path of each.
        archive: The zip file to write.
    """
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as packed:
        for name, path in track(files, f"packing {archive.name}", unit="file"):
            member = describe_member(name)
            member.file_size = path.stat().st_size
            with path.open("rb") as source, packed.open(member, "w") as target:
                shutil.copyfileobj(source, target, _CHUNK)
