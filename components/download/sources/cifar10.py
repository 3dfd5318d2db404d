"""CIFAR-10 as its authors publish it: 60,000 images of 32 x 32 pixels in ten classes, as a tar file of batches (layout `cifar10`)."""

from __future__ import annotations

from pathlib import Path

from components.download.sources.http import fetch_archive
from components.download.sources.request import Provenance, Request

URL = "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz"
SHA256 = "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce"
TERMS = "no licence is stated; the authors ask for a citation of Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009"


def identify(_: Request) -> dict[str, object]:
    """The checksum."""
    return {"sha256": SHA256}


def fetch(request: Request, folder: Path) -> Provenance:
    """Fetch the tar file, 170 MB."""
    return fetch_archive(request.source.name, URL, SHA256, TERMS, folder)
