"""Providers: the places that archives come from, one module each.

A provider has two functions. `identify` says cheaply what would be fetched, so that an archive that is in the cache is not fetched
again; `fetch` writes `<name>.zip` into a folder and says where it is from. Adding one is a module here and a row in `PROVIDERS`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from components.download.sources import local, sample
from components.download.sources.request import Provenance, Request

__all__ = ["PROVIDERS", "Provenance", "Provider", "Request"]


class Provider(NamedTuple):
    """The two functions of a provider's module."""

    identify: Callable[[Request], dict[str, object]]
    fetch: Callable[[Request, Path], Provenance]


PROVIDERS = {
    "local": Provider(local.identify, local.fetch),
    "sample": Provider(sample.identify, sample.fetch),
}
