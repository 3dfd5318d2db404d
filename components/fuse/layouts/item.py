"""What a layout's reader says of each file, before any image is read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

from components.common.archives import MAX_FILE_BYTES, Archive, read_file


@dataclass(frozen=True)
class Item:
    """One file, or one image inside a file, that a layout knows of.

    Attributes:
        path: Where it is; unique in its archive.
        label: As the layout gives it; None for an unlabelled image.
        breed: None where the layout knows none.
        group: What it must stay together with when the data is split; None where the layout knows no such thing.
        read: Returns its encoded bytes; None where there is nothing to read.
        problem: Why there is nothing to read.
    """

    path: str
    label: str | None = None
    breed: str | None = None
    group: str | None = None
    read: Callable[[], bytes] | None = None
    problem: str = ""


Reader: TypeAlias = Callable[[Archive], Iterator[Item]]


def find_item(
    archive: Archive, name: str, label: str | None, *, path: str = "", breed: str | None = None, group: str | None = None
) -> Item:
    """The item of a file that is in an archive.

    Args:
        archive: Holds the file.
        name: Of the file.
        label: See `Item`.
        path: What to call it, if not by its name.
        breed: See `Item`.
        group: See `Item`.
    """
    size = archive.sizes[name]
    if size > MAX_FILE_BYTES:
        problem = f"the file is {size:,} bytes long; at most {MAX_FILE_BYTES:,} are read"
        return Item(path or name, label, breed, group, problem=problem)
    return Item(path or name, label, breed, group, read=lambda: read_file(archive, name))


def miss_item(name: str, label: str | None, *, breed: str | None = None, group: str | None = None) -> Item:
    """The item of a file that a table names and the archive does not hold."""
    return Item(name, label, breed, group)
