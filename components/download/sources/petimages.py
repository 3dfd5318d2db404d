"""Dogs vs. Cats as Microsoft publishes it, for anyone, without a login: 25,000 photos in one zip file (layout `petimages`)."""

from __future__ import annotations

from pathlib import Path

from components.download.sources.http import fetch_archive
from components.download.sources.request import Provenance, Request

URL = "https://download.microsoft.com/download/3/E/1/3E1C3F21-ECDB-4869-8368-6DEBA77B919F/kagglecatsanddogs_5340.zip"
SHA256 = "b7974bd00a84a99921f36ee4403f089853777b5ae8d151c76a86e64900334af9"
TERMS = "CDLA-Permissive-2.0, as stated in the archive (https://www.microsoft.com/en-us/download/details.aspx?id=54765)"


def identify(_: Request) -> dict[str, object]:
    """The checksum."""
    return {"sha256": SHA256}


def fetch(request: Request, folder: Path) -> Provenance:
    """Fetch the zip file, 825 MB."""
    return fetch_archive(request.source.name, URL, SHA256, TERMS, folder)
