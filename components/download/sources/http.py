"""Any archive with an address and a known checksum."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from components.common.archives import SUFFIXES
from components.download.fetching import fetch_url
from components.download.shelf import keep
from components.download.sources.request import Provenance, Request


@dataclass(frozen=True)
class PublishedArchive:
    """An archive that is always the same; its two functions are those of a provider.

    Attributes:
        url: Its address.
        sha256: Its checksum.
        terms: Licence or terms of use.
    """

    url: str
    sha256: str
    terms: str

    def identify(self, _: Request) -> dict[str, object]:
        """The checksum: whatever address serves it, it is the same archive."""
        return {"sha256": self.sha256}

    def fetch(self, request: Request, folder: Path) -> Provenance:
        """Fetch it, and name it after the source."""
        name, path = request.source.name, urlsplit(self.url).path.lower()
        file = name + next((suffix for suffix in SUFFIXES if path.endswith(suffix)), ".zip")
        keep(self.identify(request), lambda part: fetch_url(self.url, self.sha256, part, name), folder / file)
        return Provenance(file, origin=self.url, terms=self.terms)


def identify(request: Request) -> dict[str, object]:
    """See `PublishedArchive`."""
    return _read(request).identify(request)


def fetch(request: Request, folder: Path) -> Provenance:
    """See `PublishedArchive`."""
    return _read(request).fetch(request, folder)


def _read(request: Request) -> PublishedArchive:
    assert request.source.url
    assert request.source.sha256
    return PublishedArchive(request.source.url, request.source.sha256, "as stated by its publisher")
