"""How the images of an archive are labelled: one reader per layout, in a module of its own.

A reader is given an open archive and yields an item for every file in it, with the label and the groups that the layout knows. It reads
no image: `read_entries` first chooses, where the recipe sets a limit, and then reads one image at a time, so memory does not grow
with the archive. Adding a layout is one module and a row in `LAYOUTS`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Container, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from components.common.archives import open_archive
from components.common.errors import PawflowError
from components.fuse.layouts import cifar10, class_folders, csv_file, dog_breeds, dogs_vs_cats, petimages
from components.fuse.layouts.item import Item, Reader

__all__ = ["LAYOUTS", "Entry", "read_entries"]


@dataclass(frozen=True)
class Entry:
    """One file of an archive, read.

    Attributes:
        path: Inside the archive.
        data: Its encoded bytes; None where they cannot be had.
        label: As the layout gives it; None for an unlabelled image.
        breed: None where the layout knows none.
        group: What it must stay together with when the data is split; None where the layout knows no such thing.
        status: Where there are no bytes, what the manifest is to say of the file.
        reason: Likewise, why.
    """

    path: str
    data: bytes | None
    label: str | None
    breed: str | None = None
    group: str | None = None
    status: str = ""
    reason: str = ""


LAYOUTS: dict[str, Reader] = {
    "dogs_vs_cats": dogs_vs_cats.read,
    "dog_breeds": dog_breeds.read,
    "petimages": petimages.read,
    "cifar10": cifar10.read,
    "class_folders": class_folders.read,
    "csv": csv_file.read,
}


def read_entries(
    layout: str, archive: Path, limit: int | None = None, fewest: int = 1, used: Container[str] | None = None
) -> Iterator[Entry]:
    """Yield every file of an archive, with its bytes unless there are none or the limit leaves it out.

    Args:
        layout: A key of `LAYOUTS`.
        archive: A zip file, a tar file or a folder.
        limit: Most files to read, all of them labelled.
        fewest: Files of each label to read even so.
        used: Labels that are used; by default all.

    Raises:
        PawflowError: The layout is unknown, or the archive is damaged, refused or of another layout.
    """
    if layout not in LAYOUTS:
        raise PawflowError(f"there is no layout {layout!r}; known ones: {', '.join(LAYOUTS)}")
    with open_archive(archive) as opened:
        chosen: set[str] | None = None
        if limit is not None:
            chosen = choose_within_limit(LAYOUTS[layout](opened), limit, fewest, used)
        with closing(LAYOUTS[layout](opened)) as items:  # type: ignore[type-var]
            for item in items:
                yield _read(item, "" if chosen is None or item.path in chosen else f"sources.limit is {limit}")


def _read(item: Item, beyond_limit: str) -> Entry:
    data, status, reason = None, "", ""
    if item.problem:
        status, reason = "unreadable", item.problem
    elif item.read is None:
        status, reason = "missing", "named in the labels, but not in the archive"
    elif beyond_limit:
        status, reason = "beyond_limit", beyond_limit
    else:
        data = item.read()
    return Entry(item.path, data, item.label, item.breed, item.group, status, reason)


def choose_within_limit(items: Iterable[Item], limit: int, fewest: int = 1, used: Container[str] | None = None) -> set[str]:
    """Paths of the labelled files that hash lowest, as many of each label, `limit` in all at most or `fewest` of each."""
    labels = {
        item.path: item.label for item in items if item.label is not None and item.read is not None and (used is None or item.label in used)
    }
    share = max(limit // (len(set(labels.values())) or 1), fewest)
    taken: dict[str, int] = {}
    chosen = set()
    for path in sorted(labels, key=lambda path: hashlib.sha256(path.encode()).digest()):
        label = labels[path]
        taken[label] = taken.get(label, 0) + 1
        if taken[label] <= share:
            chosen.add(path)
    return chosen
