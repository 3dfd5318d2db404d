"""Images as pages show them: a few facts and a thumbnail, inlined so that the page needs no other file.

In: ids of a dataset's images. Out: their facts, with the picture as a `data:` address, from the shards for images that have a split, from
`exhibits.zip` for a few of the others.
"""

from __future__ import annotations

import base64
import io
import zipfile
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from components.common.dataset import EXHIBITS, Dataset, find_evidence
from serving.images import Pixels

#: Side of a thumbnail, in pixels.
THUMBNAIL_SIZE = 144
_WEBP_QUALITY = 65


@dataclass(frozen=True)
class Card:
    """One image on the page.

    Attributes:
        id: As in the manifest.
        name: The last part of its path.
        facts: Its manifest row, None for what is not known.
        picture: Address of its thumbnail; None where no pixels are kept.
    """

    id: str
    name: str
    facts: dict[Hashable, Any]
    picture: str | None


class Album:
    """Cards of one dataset's images."""

    def __init__(self, dataset: Dataset, size: int = THUMBNAIL_SIZE) -> None:
        """Use thumbnails of at most `size` pixels a side."""
        self._size = size
        self._folder, self._manifest = dataset.folder, dataset.manifest
        self._exhibits = zipfile.ZipFile(find_evidence(dataset.folder, EXHIBITS))
        self._exhibited = frozenset(self._exhibits.namelist())

    @cached_property
    def _position(self) -> dict[str, int]:
        return dict(zip(self._manifest["id"], range(len(self._manifest)), strict=True))

    def cards(self, ids: Iterable[str]) -> list[Card]:
        """Cards in the order of `ids`."""
        return [self._make(identifier) for identifier in ids]

    def _make(self, identifier: str) -> Card:
        row = self._manifest.iloc[self._position[identifier]].to_dict()
        facts = {name: None if pd.isna(value) else value for name, value in row.items()}
        return Card(identifier, PurePosixPath(str(facts["path"])).name, facts, self._draw(facts))

    def _draw(self, facts: dict[Hashable, Any]) -> str | None:
        if facts["shard"] is not None:
            data = make_thumbnail(np.asarray(np.load(self._folder / facts["shard"], mmap_mode="r")[facts["row"]]), self._size)
        elif facts["id"] in self._exhibited:
            data = self._exhibits.read(facts["id"])
        else:
            return None
        return inline_thumbnail(data)


def make_thumbnail(pixels: Pixels, size: int = THUMBNAIL_SIZE) -> bytes:
    """A square of pixels as a WebP file of at most `size` pixels a side."""
    stream = io.BytesIO()
    image = Image.fromarray(pixels)
    image.thumbnail((size, size))
    image.save(stream, "WEBP", quality=_WEBP_QUALITY)
    return stream.getvalue()


def inline_thumbnail(data: bytes) -> str:
    """The address of a thumbnail that holds the picture itself."""
    return f"data:image/webp;base64,{base64.b64encode(data).decode()}"
