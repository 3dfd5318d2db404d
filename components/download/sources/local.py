"""Archives that the user has: `<root>/<name>.zip`, in the layout in which Kaggle serves them."""

from __future__ import annotations

import shutil
from pathlib import Path

from components.common.errors import PawflowError
from components.common.store import hash_file
from components.download.sources.request import Provenance, Request

#: Where each archive can be had, and under which terms.
_KNOWN = {
    "dogs-vs-cats": ("https://www.kaggle.com/competitions/dogs-vs-cats/data", "Kaggle competition rules: non-commercial research"),
    "dog-breed-identification": (
        "https://www.kaggle.com/competitions/dog-breed-identification/data",
        "Kaggle competition rules; photos from ImageNet (Stanford Dogs): non-commercial research",
    ),
}


def identify(request: Request) -> dict[str, object]:
    """The archive's SHA-256."""
    return {"sha256": hash_file(_find(request))}


def fetch(request: Request, folder: Path) -> Provenance:
    """Copy the archive: a link would share later changes to the user's file with the cache."""
    archive = _find(request)
    shutil.copyfile(archive, folder / archive.name)
    _, terms = _KNOWN.get(request.source.name, ("", "as agreed with whoever provided the archive"))
    return Provenance(origin=str(archive), terms=terms)


def _find(request: Request) -> Path:
    name = f"{request.source.name}.zip"
    page, _ = _KNOWN.get(request.source.name, ("its publisher", ""))
    how = (
        f"Download it from {page} (for Kaggle: sign in and accept the rules at the bottom of that page), "
        f"then run with sources.root=DIR, DIR being the folder that holds {name}."
    )
    if request.root is None:
        raise PawflowError(
            f"source {request.source.name!r} is read from a local archive, and the recipe names no folder (sources.root is empty).\n{how}"
        )
    archive = (request.root / name).absolute()
    if not archive.is_file():
        raise PawflowError(f"{archive} does not exist; expected the archive of source {request.source.name!r} there.\n{how}")
    return archive
