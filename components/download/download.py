"""Fetch one source and verify it: a folder with the archive as fetched and `source.json`, its provenance."""

from __future__ import annotations

import datetime
import json
import zipfile
from pathlib import Path

from components.common.archives import UNREADABLE_ZIP
from components.common.errors import PawflowError
from components.common.progress import say
from components.common.store import Record, hash_file
from components.download.sources import PROVIDERS, Provider, Request

SOURCE_FILE = "source.json"


def choose_provider(request: Request) -> Provider:
    """The provider of a source; local archives replace every other one.

    Raises:
        PawflowError: The recipe names a provider that does not exist.
    """
    name = "local" if request.root else request.source.provider
    if name not in PROVIDERS:
        raise PawflowError(f"source {request.source.name!r} names the provider {name!r}; known ones: {', '.join(PROVIDERS)}")
    return PROVIDERS[name]


def download(request: Request, folder: Path) -> Record:
    """Fetch the archive of a source into `folder`.

    Raises:
        PawflowError: It cannot be had, or is damaged.
    """
    provenance = choose_provider(request).fetch(request, folder)
    archive = folder / f"{request.source.name}.zip"
    verify_zip(archive, provenance.origin)
    details = {
        "name": request.source.name,
        "origin": provenance.origin,
        "terms": provenance.terms,
        "generated": provenance.generated,
        "sha256": hash_file(archive),
        "bytes": archive.stat().st_size,
        "fetched_at": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }
    (folder / SOURCE_FILE).write_text(json.dumps(details, indent=1))
    say(f"{archive.name}: {archive.stat().st_size / 1e6:.1f} MB from {provenance.origin}")
    return Record(params=details, metrics={"bytes": float(archive.stat().st_size)}, figures=[SOURCE_FILE])


def verify_zip(archive: Path, origin: str) -> None:
    """Read the whole archive against its own checksums.

    Raises:
        PawflowError: It is no zip archive, is cut short, or a member does not match its checksum.
    """
    remedy = "Fetch it again."
    try:
        with zipfile.ZipFile(archive) as opened:
            damaged = opened.testzip()
    except (*UNREADABLE_ZIP, OSError, ValueError) as error:
        raise PawflowError(f"{origin} is not a readable zip archive ({error}). {remedy}") from error
    if damaged is not None:
        raise PawflowError(f"{origin} is damaged: its member {damaged!r} does not match its checksum. {remedy}")
