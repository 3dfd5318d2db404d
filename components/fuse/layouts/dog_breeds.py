"""Kaggle's Dog Breed Identification: `labels.csv` (id,breed) and `train/<id>.jpg`; `test/` is unlabelled."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from components.common.archives import Archive, list_some
from components.common.errors import PawflowError
from components.fuse.layouts.item import Item, find_item, miss_item
from components.fuse.layouts.tables import read_table

_TABLE = "labels.csv"


def read(archive: Archive) -> Iterator[Item]:
    """Yield every file but the table, then the rows of the table that have no file.

    Raises:
        PawflowError: The table is missing or empty.
    """
    if _TABLE not in archive.sizes:
        raise PawflowError(f"{archive.name} holds {list_some(archive.sizes)}; expected {_TABLE}, as in Kaggle's Dog Breed Identification")
    breeds = {row["id"]: row["breed"] for _, row in read_table(archive, _TABLE, ("id", "breed")) if row["breed"]}
    if not breeds:
        raise PawflowError(f"{_TABLE} in {archive.name} has no rows with the columns id and breed")
    for name in archive.sizes:
        if name == _TABLE:
            continue
        breed = breeds.pop(Path(name).stem, None)
        yield find_item(archive, name, "dog" if breed else None, breed=breed)
    for identifier, breed in breeds.items():
        yield miss_item(f"train/{identifier}.jpg", "dog", breed=breed)
