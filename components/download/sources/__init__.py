"""Providers: the places that archives come from, one module each.

A provider has two functions. `identify` says cheaply what would be fetched, so that an archive that is in the cache is not fetched
again; `fetch` writes the archive into a folder and says where it is from. Both raise `PawflowError` for whatever keeps them from it,
and the next place of the recipe is tried. Adding a provider is a module here and a row in `PROVIDERS`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from components.common.errors import PawflowError, list_known
from components.common.recipe import Place
from components.download.sources import cifar10, folder, http, kaggle, local, petimages, s3, sample
from components.download.sources.request import Provenance, Request

__all__ = ["PROVIDERS", "Provenance", "Provider", "Request", "find_provider"]


class Provider(NamedTuple):
    """The two functions of a provider's module, the fields of a recipe's place that it needs, and those that it takes as well."""

    identify: Callable[[Request], dict[str, object]]
    fetch: Callable[[Request, Path], Provenance]
    needs: tuple[str, ...] = ()
    takes: tuple[str, ...] = ()


PROVIDERS = {
    "local": Provider(local.identify, local.fetch, takes=("sha256",)),
    "sample": Provider(sample.identify, sample.fetch, takes=("num_images",)),
    "folder": Provider(folder.identify, folder.fetch, needs=("path",)),
    "kaggle": Provider(kaggle.identify, kaggle.fetch, takes=("competition",)),
    "petimages": Provider(petimages.identify, petimages.fetch),
    "cifar10": Provider(cifar10.identify, cifar10.fetch),
    "http": Provider(http.identify, http.fetch, needs=("url", "sha256")),
    "s3": Provider(s3.identify, s3.fetch, needs=("url",), takes=("sha256", "endpoint")),
}


def find_provider(request: Request) -> Provider:
    """The provider of a request's first place.

    Raises:
        PawflowError: There is none of that name, or the recipe lacks a field that it needs, or sets one that it does not take.
    """
    source = request.source
    if source.provider not in PROVIDERS:
        raise PawflowError(f"source {source.name!r} names the provider {source.provider!r}{list_known(source.provider, PROVIDERS)}")
    provider = PROVIDERS[source.provider]
    missing = [field for field in provider.needs if getattr(source, field) is None]
    if missing:
        raise PawflowError(f"source {source.name!r}: the provider {source.provider!r} needs {' and '.join(missing)}; add it to the recipe")
    for name, field in Place.model_fields.items():
        value = getattr(source, name)
        if name not in ("provider", *provider.needs, *provider.takes) and value != field.default:
            takers = [taker for taker, other in PROVIDERS.items() if name in other.needs + other.takes]
            raise PawflowError(
                f"source {source.name!r}: {name} is {value}, but does nothing with the provider {source.provider!r}; "
                f"leave it out, or name a provider that takes it: {', '.join(takers)}"
            )
    return provider
