"""Photos that people say were misjudged, kept with their consent for whoever labels the data of the next run.

In: an encoded photo, what it really shows, and the answer that it got. Out, in one folder: the photo as it came, under its SHA-256, and a
row of `labels.csv`. That is a layout which the pipeline reads (`layout: csv`), so the folder can be a source of the next run, and people
can correct the table; one that cannot be read any more is set apart, never written over. No name that a caller sends becomes a path, and
nothing of the folder is ever sent back.
"""

from __future__ import annotations

import csv
import hashlib
import logging
import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from serving.images import read_photo
from serving.options import RequestError
from serving.predictor import MAX_DECODING_MEMORY

log = logging.getLogger(__name__)

TABLE = "labels.csv"
#: Its columns: the first two are what the pipeline reads, the others for whoever looks at the photos.
COLUMNS = ("path", "label", "model", "version", "said", "probability", "flagged_at", "consent")


class FullError(RuntimeError):
    """As many photos are kept as may be."""


_FIELDS = frozenset({"consent", "label", "version"})


@dataclass(frozen=True)
class Flag:
    """What somebody says about an answer.

    Attributes:
        label: What the photo really shows, a class of the model; None for something else.
        model: The registered model that answered.
        answer: Its answer, see `Predictor.predict`.
    """

    label: str | None
    model: str
    answer: dict[str, Any]


class FlaggedPhotos:
    """The folder of flagged photos; at most `max_photos` of `max_bytes` together are kept."""

    def __init__(self, folder: Path, max_photos: int, max_bytes: int) -> None:
        """Use `folder`, which is made when the first photo comes."""
        self._folder = folder
        self._max_photos = max_photos
        self._max_bytes = max_bytes
        self._lock = threading.Lock()

    def keep(self, data: bytes, flag: Flag) -> str:
        """Store a photo; the same one again replaces what was said about it before.

        Returns:
            The photo's SHA-256.

        Raises:
            UnreadableImageError: The bytes are no photo.
            FullError: The folder is full.
        """
        file_format = read_photo(data, 32, max_memory=MAX_DECODING_MEMORY).format
        digest = hashlib.sha256(data).hexdigest()
        photo = self._folder / f"{digest}.{file_format.lower()}"
        row = {
            "path": photo.name,
            "label": flag.label or "",
            "model": flag.model,
            "version": flag.answer["model_version"],
            "said": flag.answer["label"],
            "probability": f"{flag.answer['probability']:.4f}",
            "flagged_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "consent": "yes",
        }
        with self._lock:
            self._folder.mkdir(parents=True, exist_ok=True)
            if not photo.exists():
                self._require_room(len(data))
                _replace(photo, data)
            self._note(row)
        return digest

    def _require_room(self, num_bytes: int) -> None:
        sizes = [path.stat().st_size for path in self._folder.iterdir() if not path.name.startswith(TABLE)]
        if len(sizes) >= self._max_photos or sum(sizes) + num_bytes > self._max_bytes:
            raise FullError(f"{len(sizes)} photos of {sum(sizes) / 1e6:,.0f} MB are kept already, and no more may be; nothing was stored")

    def _note(self, row: dict[str, str]) -> None:
        """Write the table anew with this row, keeping what people have changed in the others."""
        table = self._folder / TABLE
        header, rows = _read_table(table)
        rows[row["path"]] = {**rows.get(row["path"], {}), **row}
        scratch = table.with_name(f".{TABLE}")
        with scratch.open("w", encoding="utf-8", newline="") as stream:
            writer = csv.DictWriter(stream, header, restval="", extrasaction="ignore", lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows.values())
        scratch.rename(table)


def _read_table(table: Path) -> tuple[list[str], dict[str, dict[str, str]]]:
    """Columns and rows by path; none of a table that is not there, or is set apart because a program saved it in another form."""
    header = list(COLUMNS)
    if not table.is_file():
        return header, {}
    try:
        with table.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream)
            if "path" not in (reader.fieldnames or ()):
                raise ValueError(f"its columns are {reader.fieldnames}")
            rows = {one["path"]: one for one in reader if one.get("path")}
    except (ValueError, csv.Error) as error:
        apart = table.with_name(f"{TABLE}.unreadable-{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}")
        table.rename(apart)
        log.warning("%s is no UTF-8 table with commas and a column path (%s); it is %s now, and a new one begins", table, error, apart.name)
        return header, {}
    return header + [name for name in reader.fieldnames or () if name not in header], rows


def _replace(path: Path, data: bytes) -> None:
    scratch = path.with_name(f".{path.name}")
    scratch.write_bytes(data)
    scratch.rename(path)


def read_flag(fields: dict[str, str], classes: tuple[str, ...]) -> str | None:
    """The label that a form says is right: a class, or None for "something else".

    Raises:
        RequestError: A field is unknown, consent is missing, or the label is none of the classes.
    """
    unknown = sorted(set(fields) - _FIELDS)
    if unknown:
        raise RequestError(f"the form has a field {unknown[0][:50]!r}; expected {', '.join(sorted(_FIELDS))} and the photo as `image`")
    if fields.get("consent") != "yes":
        raise RequestError("the photo is kept only with consent; expected the field consent=yes")
    label = fields.get("label", "")
    if label and label not in classes:
        raise RequestError(f"label is {label[:50]!r}; expected one of {', '.join(classes)}, or nothing for something else")
    return label or None
