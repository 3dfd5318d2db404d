"""A table beside the images: a CSV file with the columns `path,label`, and `group` if some images must stay together.

Paths are relative to the table. A row without a label, and a file without a row, are unlabelled; a row without a file is missing. Groups of
one name are one group, whatever their sources: new photos of a patient may come as a further source.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator

from components.common.archives import Archive, list_some
from components.common.errors import PawflowError
from components.fuse.layouts.item import Item, find_item, miss_item
from components.fuse.layouts.tables import read_table

_PREFERRED = "labels.csv"
_COLUMNS = ("path", "label")


def read(archive: Archive) -> Iterator[Item]:
    """Yield every file but the table, then the rows of the table that have no file."""
    table = _find_table(archive)
    rows = _read_rows(archive, table)
    for name in archive.sizes:
        if name != table:
            row = rows.pop(name, {})
            yield find_item(archive, name, row.get("label") or None, group=row.get("group") or None)
    for path, row in rows.items():
        yield miss_item(path, row["label"] or None, group=row.get("group") or None)


def has_labels(archive: Archive, name: str) -> bool:
    """Whether a file is called as such a table and has its columns."""
    if posixpath.basename(name).lower() != _PREFERRED:
        return False
    try:
        next(read_table(archive, name, _COLUMNS), None)
    except PawflowError:
        return False
    return True


def _find_table(archive: Archive) -> str:
    """The one CSV file that lies highest; among several, the one that is named labels.csv."""
    tables = [name for name in archive.sizes if name.lower().endswith(".csv") and not name.startswith("__MACOSX/")]
    height = min((name.count("/") for name in tables), default=0)
    highest = [name for name in tables if name.count("/") == height]
    chosen = highest if len(highest) == 1 else [name for name in highest if posixpath.basename(name).lower() == _PREFERRED]
    if len(chosen) != 1:
        raise PawflowError(
            f"{archive.name} holds {list_some(highest or archive.sizes)}; "
            f"expected one CSV file with the columns path,label[,group], or one named {_PREFERRED} among several"
        )
    return chosen[0]


def _read_rows(archive: Archive, table: str) -> dict[str, dict[str, str]]:
    folder = posixpath.dirname(table)
    rows: dict[str, dict[str, str]] = {}
    lines: dict[str, int] = {}
    for line, row in read_table(archive, table, _COLUMNS):
        written = row["path"] if posixpath.join(folder, row["path"]) in archive.sizes else row["path"].replace("\\", "/")
        path = posixpath.normpath(posixpath.join(folder, written))
        if path in rows and rows[path] != {**row, "path": rows[path]["path"]}:
            raise PawflowError(
                f"{table} in {archive.name} says two different things of {path!r}, in lines {lines[path]} and {line}; keep one"
            )
        rows[path], lines[path] = row, line
    if not any(row["label"] for row in rows.values()):
        raise PawflowError(f"{table} in {archive.name} gives no file a label; expected rows such as photos/1.jpg,cat")
    return rows
