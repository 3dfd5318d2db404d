"""Kaggle's Dogs vs. Cats: `train.zip` with `train/<label>.<number>.jpg`, `test1.zip` with unlabelled images.

The inner `train.zip` by itself, as some mirrors have it, is read as well.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from components.common.archives import Archive, list_some, open_inner
from components.common.errors import PawflowError
from components.fuse.layouts.item import Item, find_item

_NAME = re.compile(r"(cat|dog)\.\d+\.jpg", re.IGNORECASE)
_LABELLED, _UNLABELLED = "train.zip", "test1.zip"


def read(archive: Archive) -> Iterator[Item]:
    """Yield the photos of both inner archives.

    Raises:
        PawflowError: It holds neither them nor photos named as theirs.
    """
    if _LABELLED not in archive.sizes and any(_find_label(name) for name in archive.sizes):
        for name in archive.sizes:
            yield find_item(archive, name, _find_label(name))
        return
    if _LABELLED not in archive.sizes:
        raise PawflowError(f"{archive.name} holds {list_some(archive.sizes)}; expected {_LABELLED}, as in Kaggle's Dogs vs. Cats")
    # Both stay open until the last item has been passed on: items that were chosen from a list are read only then.
    with ExitStack() as stack:
        for outer in (_LABELLED, _UNLABELLED):
            if outer not in archive.sizes:
                continue
            inner = stack.enter_context(open_inner(archive, outer))
            for name in inner.sizes:
                label = _find_label(name) if outer == _LABELLED else None
                yield find_item(inner, name, label, path=f"{outer}/{name}")
        for name in archive.sizes:
            if name not in (_LABELLED, _UNLABELLED):
                yield find_item(archive, name, None)


def _find_label(name: str) -> str | None:
    match = _NAME.fullmatch(Path(name).name)
    return match[1].lower() if match else None
