"""A folder for each class: `cat/anything.jpg`, `dog/deeper/anything.png`. The top-level folder's name is the label.

When one folder stands around all the others, as it does after zipping a folder, that one is stepped into. Files beside the class folders
are unlabelled.
"""

from __future__ import annotations

from collections.abc import Iterator

from components.common.archives import Archive, list_some
from components.common.errors import PawflowError
from components.fuse.layouts.item import Item, find_item

#: Where macOS puts the resource forks of what it packs: a shadow of every file, and no class.
_SHADOWS = "__MACOSX"


def read(archive: Archive) -> Iterator[Item]:
    """Yield every file, labelled by its folder.

    Raises:
        PawflowError: No file lies in a folder.
    """
    paths = {name: name.split("/") for name in archive.sizes}
    depth = _find_depth([parts for parts in paths.values() if parts[0] != _SHADOWS])
    if all(len(parts) <= depth + 1 for parts in paths.values()):
        raise PawflowError(
            f"{archive.name} holds {list_some(archive.sizes)}; expected a folder for each class, such as cat/1.jpg and dog/1.jpg"
        )
    for name, parts in paths.items():
        labelled = len(parts) > depth + 1 and parts[0] != _SHADOWS
        yield find_item(archive, name, parts[depth] if labelled else None)


def _find_depth(paths: list[list[str]]) -> int:
    """How many folders stand around the class folders: one where all files are in two or more folders of a single one, else none."""
    wrapped = len({parts[0] for parts in paths}) == 1 and len({parts[1] for parts in paths if len(parts) > 2}) > 1
    return 1 if wrapped and all(len(parts) > 2 or parts[-1].startswith(".") for parts in paths) else 0
