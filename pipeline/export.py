"""A dataset as folders of images, for tools that want a folder for each class.

In: a finished dataset. Out: `files/`, one file for each image, named by its content, and `dataset/{train,test}/CLASS/`, hard links to
them. Test images are the original files; of training and validation images, which lie together under `train`, only the stored squares
are kept, and they are written as PNG, which loses nothing. The links of an image and its file are one and the same: change neither.
"""

from __future__ import annotations

import io
import os
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from PIL import Image

from components.common.dataset import Dataset
from components.common.errors import PawflowError

_FOLDERS = {"train": "train", "validation": "train", "test": "test"}


def export_folders(dataset: Dataset, out: Path) -> dict[tuple[str, str], int]:
    """Write the folders.

    Args:
        dataset: What to export.
        out: New or empty folder.

    Returns:
        (split, class) -> number of images.

    Raises:
        PawflowError: `out` holds something already.
    """
    if out.exists() and any(out.iterdir()):
        raise PawflowError(f"{out} is not empty; pass a new or an empty folder, so that nothing of another dataset stays in it")
    (out / "files").mkdir(parents=True)
    counts: Counter[tuple[str, str]] = Counter()
    for split, folder in _FOLDERS.items():
        for (_, row), (suffix, data) in zip(dataset.rows(split).iterrows(), _read(dataset, split), strict=True):
            file = out / "files" / f"{row['sha256']}{suffix}"
            file.write_bytes(data)
            # Part of the digest keeps names apart that differ only in a folder.
            name = f"{row['source']}-{PurePosixPath(row['path']).stem}-{row['sha256'][:8]}{suffix}"
            link = out / "dataset" / folder / row["label"] / name
            link.parent.mkdir(parents=True, exist_ok=True)
            _link(file, link)
            counts[folder, row["label"]] += 1
    return dict(sorted(counts.items()))


def _read(dataset: Dataset, split: str) -> Iterator[tuple[str, bytes]]:
    """Yield suffix and bytes of each image of a split, in the order of its rows."""
    if split == "test":
        for identifier, data in dataset.originals():
            yield PurePosixPath(identifier).suffix.lower(), data
        return
    for batch in dataset.images(split).batches(64):
        for pixels in batch:
            stream = io.BytesIO()
            Image.fromarray(pixels).save(stream, "PNG", compress_level=1)
            yield ".png", stream.getvalue()


def _link(file: Path, link: Path) -> None:
    try:
        os.link(file, link)
    except OSError:
        # Some file systems know no hard links.
        shutil.copy2(file, link)
