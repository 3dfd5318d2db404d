"""Your own images: a folder, packed into one archive.

What lies in it is for the layout to say: a folder for each class (`class_folders`, the default) or a table beside the images (`csv`).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from components.common.errors import PawflowError
from components.common.names import list_folder
from components.common.progress import track
from components.common.store import hash_file, hash_values
from components.download.packing import pack
from components.download.sources.request import Provenance, Request


def identify(request: Request) -> dict[str, object]:
    """Digest of all names and contents."""
    return identify_folder(find(request))


def fetch(request: Request, folder: Path) -> Provenance:
    """Pack the folder."""
    return pack_folder(find(request), request.source.name, folder)


def identify_folder(images: Path) -> dict[str, object]:
    """Digest of all names and contents below a folder."""
    with _unchanged(images):
        files = track(list_folder(images), f"reading {images.name}", unit="file")
        return {"content": hash_values([(name, hash_file(path)) for name, path in files])}


def pack_folder(images: Path, name: str, folder: Path) -> Provenance:
    """Pack the folder `images` into `<folder>/<name>.zip`.

    Raises:
        PawflowError: It holds no file.
    """
    files = list(list_folder(images))
    if not files:
        raise PawflowError(f"{images} holds no files; expected a folder of images for each class, or a table beside the images")
    before = identify_folder(images)
    with _unchanged(images):
        pack(files, folder / f"{name}.zip")
    if identify_folder(images) != before:
        raise _changed(images)
    return Provenance(f"{name}.zip", origin=str(images), terms="as agreed with whoever provided the images")


@contextmanager
def _unchanged(images: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise _changed(images) from error


def _changed(images: Path) -> PawflowError:
    return PawflowError(f"{images} changed while it was read; run again once nothing is written there")


def find(request: Request) -> Path:
    """The folder that a source names.

    Raises:
        PawflowError: There is none.
    """
    assert request.source.path
    images = request.source.path.expanduser().absolute()
    if not images.is_dir():
        raise PawflowError(
            f"{images} is no folder; expected the images of source {request.source.name!r} there. "
            "Correct the path in the recipe (a relative one starts in the folder where the command is run)"
        )
    return images
