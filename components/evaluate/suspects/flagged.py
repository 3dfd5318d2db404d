"""Photos that people flagged as misjudged on the gateway's page (`serving.gateway.flagging` keeps them), for the page of suspects."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

from components.common.errors import PawflowError
from serving.gateway.flagging import TABLE


@dataclass(frozen=True)
class Flagged:
    """One photo.

    Attributes:
        photo: The file.
        sha256: Of its bytes.
        label: What the person says that it shows; None for none of the classes.
        told: Who said what, as a sentence.
    """

    photo: Path
    sha256: str
    label: str | None
    told: str


def read_flagged(folder: Path) -> list[Flagged]:
    """The photos in a folder, the newest first.

    Raises:
        PawflowError: There is no such folder, or its table does not say what the gateway's says.
    """
    table = folder / TABLE
    if folder.is_dir() and not any(folder.iterdir()):
        # As a gateway makes it, which writes the table with the first photo.
        return []
    if not table.is_file():
        raise PawflowError(f"{folder} holds no {TABLE}; expected the folder in which the gateway keeps flagged photos (its --flagged)")
    with table.open(encoding="utf-8-sig", errors="replace", newline="") as stream:
        rows = sorted(csv.DictReader(stream), key=lambda row: row.get("flagged_at") or "", reverse=True)
    return [_read(row, table) for row in rows]


def _read(row: dict[str, str], table: Path) -> Flagged:
    try:
        photo, label = table.with_name(Path(row["path"]).name), row["label"]
        told = (
            f"flagged by a person on {row['flagged_at'][:10]}, who says that it is {label or 'none of the classes'}; "
            f"{row['model']} version {row['version']} said {row['said']} at {100 * float(row['probability']):.1f} %"
        )
    except (ValueError, KeyError, TypeError) as error:
        raise PawflowError(f"a row of {table} is not as the gateway writes it ({error!r}): {row}; correct it or take it out") from error
    if not photo.is_file():
        raise PawflowError(f"{table} speaks of {photo.name}, which is not there; take the row out")
    return Flagged(photo, photo.stem, label or None, told)
