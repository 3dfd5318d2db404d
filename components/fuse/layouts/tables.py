"""Tables of labels: a CSV file inside an archive, read with an eye for what people and spreadsheets write."""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Iterator

from components.common.archives import Archive, read_file
from components.common.errors import PawflowError


def read_table(archive: Archive, name: str, columns: tuple[str, ...]) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield line number and cells of each row that has a value in the first of `columns`.

    Raises:
        PawflowError: It is no CSV file, or a column is missing.
    """
    content = read_file(archive, name)
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise PawflowError(f"{name} in {archive.name} is UTF-16; save it as UTF-8, which spreadsheets offer as `CSV UTF-8`")
    # A byte that is no UTF-8 becomes a mark in a name that then matches no file, which has a row of its own.
    text = content.decode("utf-8-sig", errors="replace")
    rows = csv.DictReader(io.StringIO(text, newline=""))
    try:
        header = [column.strip().lower() for column in rows.fieldnames or ()]
        rows.fieldnames = header
        if not set(columns) <= set(header):
            raise PawflowError(f"{name} in {archive.name} has the columns {header}; expected {','.join(columns)}, separated by commas")
        for row in rows:
            cells = {column: (row.get(column) or "").strip() for column in header}
            if cells[columns[0]]:
                yield rows.line_num, cells
    except csv.Error as error:
        raise PawflowError(f"{name} in {archive.name} is no CSV file (line {rows.line_num}: {error})") from error
