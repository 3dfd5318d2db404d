"""From archives to rows and pixels: every file is decoded, accounted for, and given its place.

In: archives. Out: a manifest with a row for every file, which says why it is not used if it is not, and the pixels of all others in the
shards of their splits. The split of an image depends on nothing but itself (`components.fuse.grouping`), so pixels are written once,
where they will stay. Memory grows by a manifest row for each image and by nothing else.
"""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TypeAlias

import pandas as pd

from components.common.dataset import MANIFEST_COLUMNS, ORIGINALS, SPLITS
from components.common.errors import PawflowError
from components.common.parallel import map_on_all_cores
from components.common.progress import track
from components.common.recipe import Recipe, Source
from components.common.shards import ImageWriter
from components.fuse.audit import METADATA_COLUMNS, describe_encoding
from components.fuse.grouping import Placement
from components.fuse.hashing import hash_squares, write_hash
from components.fuse.layouts import Entry, read_entries
from serving.images import Pixels, UnreadableImageError, read_photo

Row: TypeAlias = dict[str, object]
Decoded: TypeAlias = tuple[Entry, Row, Pixels | None]

#: Columns while fusing; `row` counts within the split until the shards are final.
_COLUMNS = MANIFEST_COLUMNS | METADATA_COLUMNS
#: Rows that are held as dictionaries, which take ten times the memory of a table.
_ROWS_PER_TABLE = 4096
_LONGEST_CLASS, _NUM_LISTED = 100, 20
#: A lot of work for a thread: enough images to be worth handing over, not so many bytes that memory would notice.
_IMAGES_PER_LOT, _BYTES_PER_LOT = 32, 1 << 20


@dataclass(frozen=True)
class Archive:
    """One downloaded source.

    Attributes:
        source: Its entry in the recipe.
        path: The archive.
        details: Contents of its `source.json`.
    """

    source: Source
    path: Path
    details: dict[str, object]


def decode_archives(archives: list[Archive], recipe: Recipe, placement: Placement, folder: Path) -> pd.DataFrame:
    """Decode all files of all archives, and write pixels and test originals into `folder`.

    Returns:
        The manifest so far; the row of an image is its position among those of its split.

    Raises:
        PawflowError: An archive is damaged or of another layout, or there is no file at all.
    """
    with ExitStack() as stack:
        originals = stack.enter_context(zipfile.ZipFile(folder / ORIGINALS, "w"))
        writers = {split: stack.enter_context(ImageWriter(folder, split, recipe.image_size)) for split in SPLITS}
        rows = (row for archive in archives for row in _read_archive(archive, recipe, placement, writers, originals))
        lots = iter(lambda: list(islice(rows, _ROWS_PER_TABLE)), [])
        tables = [pd.DataFrame(lot, columns=list(_COLUMNS)).astype(_COLUMNS) for lot in lots]
    if not tables:
        raise PawflowError(f"there is no file in {', '.join(archive.path.name for archive in archives)}; fetch the archives again")
    return pd.concat(tables, ignore_index=True)


def _read_archive(
    archive: Archive, recipe: Recipe, placement: Placement, writers: dict[str, ImageWriter], originals: zipfile.ZipFile
) -> Iterator[Row]:
    source = archive.source
    limits = recipe.sources.limit, recipe.sources.fewest_per_class, source.labels
    entries = track(read_entries(source.layout, archive.path, *limits), f"decoding {source.name}")
    labels: set[str | None] = set()
    for lot in map_on_all_cores(lambda lot: _decode(lot, recipe), _divide(entries)):
        for entry, row, pixels in lot:
            labels.add(entry.label)
            image: Row = {"id": f"{source.name}/{entry.path}", "source": source.name, "path": entry.path, "breed": entry.breed}
            image |= {"unconfounded": False} | row | _judge(entry, row, source)
            if image["status"] == "used" and pixels is not None and entry.data is not None:
                image["group"] = entry.group or entry.breed or row["sha256"]
                image["split"] = split = placement.choose(str(image["group"]), str(row["sha256"]))
                image["row"] = writers[split].append(pixels)
                if split == "test":
                    originals.writestr(zipfile.ZipInfo(str(image["id"])), entry.data)
            yield image
    unknown = set(source.labels or ()) - labels
    if unknown:
        known = ", ".join(sorted(label for label in labels if label is not None)[:_NUM_LISTED])
        raise PawflowError(
            f"`labels` of source {source.name!r} names {', '.join(sorted(unknown))}, which no file of it has; correct or remove that. "
            f"Its labels: {known or 'none'}"
        )


def _divide(entries: Iterable[Entry]) -> Iterator[list[Entry]]:
    """Lots of consecutive entries."""
    lot: list[Entry] = []
    num_bytes = 0
    for entry in entries:
        lot.append(entry)
        num_bytes += len(entry.data or b"")
        if len(lot) == _IMAGES_PER_LOT or num_bytes >= _BYTES_PER_LOT:
            yield lot
            lot, num_bytes = [], 0
    yield lot


def _decode(lot: list[Entry], recipe: Recipe) -> list[Decoded]:
    decoded = [(entry, *_decode_one(entry, recipe.image_size, recipe.resize)) for entry in lot]
    # Taken of the stored squares, hashes speak of what training sees, and cost a fraction of those of full images.
    hashes = hash_squares(pixels for _, _, pixels in decoded if pixels is not None)
    readable = (row for _, row, pixels in decoded if pixels is not None)
    for row, value in zip(readable, hashes, strict=True):
        row["perceptual_hash"] = write_hash(value)
    return decoded


def _decode_one(entry: Entry, size: int, resize: str) -> tuple[Row, Pixels | None]:
    if entry.data is None:
        return {"bytes": 0, "status": entry.status, "reason": entry.reason}, None
    row: Row = {"bytes": len(entry.data), "sha256": hashlib.sha256(entry.data).hexdigest()}
    try:
        photo = read_photo(entry.data, size, resize)
    except UnreadableImageError as error:
        return {**row, "status": "unreadable", "reason": str(error)}, None
    measured = {"width": photo.width, "height": photo.height, "mode": photo.mode}
    return {**row, **measured, **describe_encoding(photo), "status": "used", "reason": ""}, photo.pixels


def _judge(entry: Entry, row: Row, source: Source) -> Row:
    """The class of an image, and why it is not used if it is not."""
    if row["status"] != "used":
        return {"label": None}
    if entry.label is None:
        return {"label": None, "status": "unlabelled", "reason": "the archive gives it no label"}
    label = entry.label if source.labels is None else source.labels.get(entry.label)
    if label is None:
        return {"label": None, "status": "excluded", "reason": f"the recipe does not use the label {entry.label!r} of {source.name}"}
    if len(label) > _LONGEST_CLASS or not label.strip(" .") or not label.isprintable() or set(label) & set("/\\"):
        raise PawflowError(
            f"{source.name}/{entry.path} is of the class {label!r}; a class names folders and metrics, so it has 1 to {_LONGEST_CLASS} "
            "characters, none of them / or \\ or invisible: rename it, or give it another name under `labels` of the source"
        )
    return {"label": label}
