"""How the images of an archive are labelled: one reader per layout.

A reader yields every file of an archive with the label and the breed that the layout gives it. Adding a layout is one function and a
row in `LAYOUTS`.
"""

from __future__ import annotations

import csv
import io
import re
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from components.common.archives import UNREADABLE_ZIP
from components.common.errors import PawflowError

_DOGS_VS_CATS_NAME = re.compile(r"(cat|dog)\.\d+\.jpg", re.IGNORECASE)


@dataclass(frozen=True)
class Entry:
    """One file of an archive.

    Attributes:
        path: Inside the archive.
        data: Its bytes; None where the archive names the file but does not hold it.
        label: As the layout gives it; None for an unlabelled image.
        breed: None where the layout knows none.
    """

    path: str
    data: bytes | None
    label: str | None
    breed: str | None = None


Reader = Callable[[Path], Iterator[Entry]]


def _read_dogs_vs_cats(archive: Path) -> Iterator[Entry]:
    """Kaggle's Dogs vs. Cats: `train.zip` with `train/<label>.<number>.jpg`, `test1.zip` with unlabelled images."""
    with zipfile.ZipFile(archive) as outer, tempfile.TemporaryDirectory(prefix="pawflow-") as folder:
        if "train.zip" not in outer.namelist():
            raise PawflowError(f"{archive.name} holds {_some(outer.namelist())}; expected train.zip, as in Kaggle's Dogs vs. Cats")
        for name in ("train.zip", "test1.zip"):
            if name not in outer.namelist():
                continue
            # Random access inside a member of another archive is slow, so the inner archive is laid on the disk first.
            inner = Path(folder) / name
            with outer.open(name) as source, inner.open("wb") as target:
                shutil.copyfileobj(source, target, 1 << 20)
            with zipfile.ZipFile(inner) as opened:
                for member in _files(opened):
                    match = _DOGS_VS_CATS_NAME.fullmatch(Path(member.filename).name)
                    label = match[1].lower() if match and name == "train.zip" else None
                    yield Entry(f"{name}/{member.filename}", opened.read(member), label)


def _read_dog_breeds(archive: Path) -> Iterator[Entry]:
    """Kaggle's Dog Breed Identification: `labels.csv` (id,breed) and `train/<id>.jpg`; `test/` is unlabelled."""
    with zipfile.ZipFile(archive) as opened:
        if "labels.csv" not in opened.namelist():
            raise PawflowError(
                f"{archive.name} holds {_some(opened.namelist())}; expected labels.csv, as in Kaggle's Dog Breed Identification"
            )
        text = opened.read("labels.csv").decode("utf-8", errors="replace")
        breeds = {row["id"]: row["breed"] for row in csv.DictReader(io.StringIO(text)) if row.get("id") and row.get("breed")}
        if not breeds:
            raise PawflowError(f"labels.csv in {archive.name} has no rows with the columns id and breed")
        for member in _files(opened):
            if member.filename == "labels.csv":
                continue
            breed = breeds.pop(Path(member.filename).stem, None)
            yield Entry(member.filename, opened.read(member), "dog" if breed else None, breed)
        for identifier, breed in breeds.items():
            yield Entry(f"train/{identifier}.jpg", None, "dog", breed)


LAYOUTS: dict[str, Reader] = {
    "dogs_vs_cats": _read_dogs_vs_cats,
    "dog_breeds": _read_dog_breeds,
}


def read_entries(layout: str, archive: Path) -> Iterator[Entry]:
    """Yield every file of an archive.

    Raises:
        PawflowError: The layout is unknown, or the archive does not follow it or is damaged.
    """
    if layout not in LAYOUTS:
        raise PawflowError(f"there is no layout {layout!r}; known ones: {', '.join(LAYOUTS)}")
    try:
        yield from LAYOUTS[layout](archive)
    except UNREADABLE_ZIP as error:
        raise PawflowError(f"{archive.name} is damaged inside ({error}); fetch it again") from error


def _files(opened: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    return [member for member in opened.infolist() if not member.is_dir() and not member.filename.startswith("__MACOSX/")]


def _some(names: list[str]) -> str:
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "") or "nothing"
