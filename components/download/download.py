"""Fetch one source and verify it: a folder with the archive as fetched and `source.json`, its provenance."""

from __future__ import annotations

import datetime
import json
import shutil
from pathlib import Path

from components.common.archives import verify_archive
from components.common.errors import PawflowError
from components.common.progress import say
from components.common.store import Record, hash_file
from components.download.sources import Provenance, Request, find_provider

SOURCE_FILE = "source.json"


def check(request: Request) -> None:
    """Check that every place of a source names a provider that exists, has what that needs, and sets nothing that it does not take.

    Raises:
        PawflowError: One does not.
    """
    for place in request.places():
        find_provider(place)


def identify(request: Request) -> list[dict[str, object]]:
    """What each place of a source would serve, on which the cache depends.

    Raises:
        PawflowError: No place would serve anything.
    """
    identities: list[dict[str, object]] = []
    failures = []
    for place in request.places():
        name = place.source.provider
        try:
            identities.append({"provider": name, **find_provider(place).identify(place)})
        except PawflowError as error:
            identities.append({"provider": name, "available": False})
            failures.append((name, str(error)))
    if len(failures) == len(identities):
        raise _give_up(request, failures)
    return identities


def download(request: Request, folder: Path) -> Record:
    """Fetch the archive of a source into `folder`, from the first place that has it.

    Raises:
        PawflowError: No place has it, or what they have is damaged.
    """
    failures: list[tuple[str, str]] = []
    places = list(request.places())
    for place in places:
        try:
            provenance = find_provider(place).fetch(place, folder)
            verify_archive(folder / provenance.file)
        except PawflowError as error:
            failures.append((place.source.provider, str(error)))
            if len(places) > 1:
                say(f"{place.source.provider} does not serve {request.source.name}: {error}")
            _empty(folder)
            continue
        return _describe(request, place.source.provider, provenance, failures, folder)
    raise _give_up(request, failures)


def _describe(request: Request, provider: str, provenance: Provenance, failures: list[tuple[str, str]], folder: Path) -> Record:
    archive = folder / provenance.file
    details = {
        "name": request.source.name,
        "file": provenance.file,
        "provider": provider,
        "tried_before": [{"provider": name, "reason": reason} for name, reason in failures],
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


def _empty(folder: Path) -> None:
    for path in folder.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def _give_up(request: Request, failures: list[tuple[str, str]]) -> PawflowError:
    if len(failures) == 1:
        return PawflowError(failures[0][1])
    reasons = "\n".join(f"- {name}: {reason}" for name, reason in failures)
    return PawflowError(f"no place of the recipe serves the source {request.source.name!r}:\n{reasons}")
