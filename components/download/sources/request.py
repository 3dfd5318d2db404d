"""What a provider is asked for and what it answers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from components.common.recipe import Place, Source


@dataclass(frozen=True)
class Request:
    """One archive, wanted.

    Attributes:
        source: Its entry in the recipe.
        root: Folder of local archives; None where the recipe names none.
        seed: The recipe's seed.
    """

    source: Source
    root: Path | None
    seed: int

    def places(self) -> Iterator[Request]:
        """The same request for each place to try, in order; a folder of local archives takes the place of all others."""
        if self.root:
            yield self._at(Place(provider="local", sha256=self.source.sha256))
            return
        for place in (self.source, *self.source.fallbacks):
            yield self._at(place)

    def _at(self, place: Place) -> Request:
        fields = {name: getattr(place, name) for name in Place.model_fields}
        return replace(self, source=self.source.model_copy(update={**fields, "fallbacks": ()}))


@dataclass(frozen=True)
class Provenance:
    """Where an archive is from.

    Attributes:
        file: Name of the archive in the folder that it was fetched into.
        origin: Path, URL or a sentence.
        terms: Licence or terms of use.
        generated: Whether its images were drawn instead of photographed.
    """

    file: str
    origin: str
    terms: str
    generated: bool = False
