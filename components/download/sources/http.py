"""Any archive with an address and a known checksum."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

from components.common.archives import SUFFIXES
from components.download.fetching import fetch_url
from components.download.shelf import keep
from components.download.sources.request import Provenance, Request


def identify(request: Request) -> dict[str, object]:
    """The checksum: whatever address serves it, it is the same archive."""
    return {"sha256": request.source.sha256}


def fetch(request: Request, folder: Path) -> Provenance:
    """Fetch the archive."""
    assert request.source.url
    assert request.source.sha256
    return fetch_archive(request.source.name, request.source.url, request.source.sha256, "as stated by its publisher", folder)


def fetch_archive(name: str, url: str, sha256: str, terms: str, folder: Path) -> Provenance:
    """Fetch a known archive.

    Args:
        name: Of the source.
        url: Its address.
        sha256: Its checksum.
        terms: Licence or terms of use.
        folder: Where it is wanted.
    """
    path = urlsplit(url).path.lower()
    file = name + next((suffix for suffix in SUFFIXES if path.endswith(suffix)), ".zip")
    keep({"sha256": sha256}, lambda part: fetch_url(url, sha256, part, name), folder / file)
    return Provenance(file, origin=url, terms=terms)
