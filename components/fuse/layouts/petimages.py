"""Microsoft's copy of Dogs vs. Cats: `PetImages/Cat/<number>.jpg` and `PetImages/Dog/<number>.jpg`.

Each folder also holds a `Thumbs.db`, and some photos do not decode; all of them are passed on, for the decoder to judge.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from components.common.archives import Archive, list_some
from components.common.errors import PawflowError
from components.fuse.layouts.item import Item, find_item

_NAME = re.compile(r"PetImages/(Cat|Dog)/[^/]+")


def read(archive: Archive) -> Iterator[Item]:
    """Yield every file, labelled "cat" or "dog" by its folder.

    Raises:
        PawflowError: It holds no such folder.
    """
    matches = {name: _NAME.fullmatch(name) for name in archive.sizes}
    if not any(matches.values()):
        raise PawflowError(f"{archive.name} holds {list_some(archive.sizes)}; expected PetImages/Cat/0.jpg, as in Microsoft's zip file")
    for name, match in matches.items():
        yield find_item(archive, name, match[1].lower() if match else None)
