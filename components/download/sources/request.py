"""What a provider is asked for and what it answers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from components.common.recipe import Source


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


@dataclass(frozen=True)
class Provenance:
    """Where an archive is from.

    Attributes:
        origin: Path, URL or a sentence.
        terms: Licence or terms of use.
        generated: Whether its images were drawn instead of photographed.
    """

    origin: str
    terms: str
    generated: bool = False
