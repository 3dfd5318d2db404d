"""A folder for each class: `cat/anything.jpg`, `dog/deeper/anything.png`. The folder's name is the label.

What stands around the class folders is stepped over: one folder around all the others, as there is after zipping a folder, and the parts of
a split that somebody has made (`train`, `val`, `test`), whose classes are joined, since the images are split anew. Files beside the class
folders, and whatever is in a hidden folder, are unlabelled.
"""

from __future__ import annotations

from collections.abc import Iterator

from components.common.archives import Archive, list_some
from components.common.errors import PawflowError
from components.fuse.layouts.csv_file import has_labels
from components.fuse.layouts.item import Item, find_item

#: Where macOS puts the resource forks of what it packs: a shadow of every file, and no class.
_SHADOWS = "__MACOSX"
_SPLITS = frozenset({"train", "training", "val", "valid", "validation", "test", "testing"})
#: Endings of files that people and systems lay beside folders of images.
_NO_IMAGES = (".txt", ".md", ".csv", ".json", ".xml", ".yaml", ".yml", ".html", ".pdf", ".db", ".ini")


def read(archive: Archive) -> Iterator[Item]:
    """Yield every file, labelled by its folder.

    Raises:
        PawflowError: No file lies in the folder of a class, or there is a table of labels, which would not be read.
    """
    table = next((name for name in archive.sizes if has_labels(archive, name)), None)
    if table:
        raise PawflowError(
            f"{archive.name} holds folders and {table}, a table of labels. To take the labels from the table, give the source "
            "`layout: csv` (the first source of a recipe: sources.archives.0.layout=csv); to take them from the folders, take it away"
        )
    paths = {name: name.split("/") for name in archive.sizes}
    visible = [parts for parts in paths.values() if not _is_hidden(parts)]
    depth = _find_depth(visible)
    classes = _list_folders(visible, depth)
    if not classes or (len(classes) > 1 and _are_splits(classes)):
        raise PawflowError(
            f"{archive.name} holds {list_some(archive.sizes)}; expected a folder for each class, such as cat/1.jpg and dog/1.jpg, "
            "or a table labels.csv of path,label beside the images, and `layout: csv`"
        )
    for name, parts in paths.items():
        labelled = len(parts) > depth + 1 and not _is_hidden(parts)
        yield find_item(archive, name, parts[depth] if labelled else None)


def _is_hidden(parts: list[str]) -> bool:
    return parts[0] == _SHADOWS or any(part.startswith(".") for part in parts[:-1])


def _list_folders(paths: list[list[str]], depth: int) -> set[str]:
    """Names of the folders that stand in so many others."""
    return {parts[depth] for parts in paths if len(parts) > depth + 1}


def _are_splits(folders: set[str]) -> bool:
    return {folder.lower() for folder in folders} <= _SPLITS


def _find_depth(paths: list[list[str]]) -> int:
    """How many folders stand around the class folders."""
    is_alone = all(len(parts) > 2 or parts[-1].startswith(".") or parts[-1].lower().endswith(_NO_IMAGES) for parts in paths)
    depth = int(is_alone and len(_list_folders(paths, 0)) == 1 and len(_list_folders(paths, 1)) > 1)
    folders = _list_folders(paths, depth)
    return depth + int(len(folders) > 1 and _are_splits(folders) and bool(_list_folders(paths, depth + 1)))
