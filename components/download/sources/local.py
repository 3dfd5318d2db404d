"""Archives that the user has: `<root>/<name>.zip` (or .tar.gz, or a folder), in the layout in which they are published."""

from __future__ import annotations

import shutil
from pathlib import Path

from components.common.archives import SUFFIXES
from components.common.errors import PawflowError
from components.common.progress import say
from components.common.store import hash_file
from components.download.sources import cifar10, petimages
from components.download.sources.folder import identify_folder, pack_folder
from components.download.sources.request import Provenance, Request

#: Where each archive can be had, and under which terms.
_KNOWN = {
    "dogs-vs-cats": ("https://www.kaggle.com/competitions/dogs-vs-cats/data", "Kaggle competition rules: non-commercial research"),
    "dog-breed-identification": (
        "https://www.kaggle.com/competitions/dog-breed-identification/data",
        "Kaggle competition rules; photos from ImageNet (Stanford Dogs): non-commercial research",
    ),
    "petimages": (petimages.ARCHIVE.url, petimages.ARCHIVE.terms),
    "cifar10": (cifar10.ARCHIVE.url, cifar10.ARCHIVE.terms),
}


def identify(request: Request) -> dict[str, object]:
    """The archive's SHA-256; of a folder, digest of all names and contents."""
    archive, expected = _find(request), request.source.sha256
    if archive.is_dir():
        if expected:
            say(f"{archive} is a folder, not an archive, so the sha256 of the recipe is not compared with it")
        return identify_folder(archive)
    found = hash_file(archive)
    if expected and found != expected:
        raise PawflowError(
            f"{archive} has the SHA-256 {found}, and the recipe expects {expected} of source {request.source.name!r}; "
            "fetch it again, or correct the recipe"
        )
    return {"sha256": found}


def fetch(request: Request, folder: Path) -> Provenance:
    """Copy the archive: a link would share later changes to the user's file with the cache."""
    archive = _find(request)
    if archive.is_dir():
        return pack_folder(archive, request.source.name, folder)
    shutil.copyfile(archive, folder / archive.name)
    _, terms = _KNOWN.get(request.source.name, ("", "as agreed with whoever provided the archive"))
    return Provenance(archive.name, origin=str(archive), terms=terms)


def _find(request: Request) -> Path:
    name = request.source.name
    page, _ = _KNOWN.get(name, ("its publisher", ""))
    rules = " (sign in and accept the rules at the bottom of that page)" if "kaggle.com" in page else ""
    how = (
        f"Download it from {page}{rules}, then run with sources.root=DIR, DIR being the folder that holds {name}.zip, {name}.tar.gz "
        f"or a folder {name}."
    )
    if request.root is None:
        raise PawflowError(f"source {name!r} is read from a local archive, and the recipe names no folder (sources.root is empty).\n{how}")
    root = request.root.absolute()
    for archive in (*(root / f"{name}{suffix}" for suffix in (".zip", *SUFFIXES)), root / name):
        if archive.is_file() or (archive.is_dir() and archive.name == name):
            return archive
    raise PawflowError(f"{root} does not hold the archive of source {name!r}.\n{how}")
