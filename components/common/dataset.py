"""The on-disk data contract: a manifest with a row for every image seen, and shards of pixels that memory-map.

`manifest.parquet` says where each image came from, what became of it and why, and at which row of which shard its pixels lie (see
`components.common.shards`). Fuse writes datasets, augment writes further training
views in the same format, and every later step reads both through `Dataset`. The encoded files of the test split are kept as well, so
that any two models, whatever size of image they take, can be compared on what a caller would send.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from components.common.errors import PawflowError
from components.common.shards import Images, list_shards

MANIFEST = "manifest.parquet"
REPORT = "report.json"
ORIGINALS = "test-originals.zip"
#: Thumbnails of some images that are in no shard.
EXHIBITS = "exhibits.zip"
SPLITS = ("train", "validation", "test")

#: Columns of the manifest, in order, with their pandas types.
MANIFEST_COLUMNS = {
    "id": "str",
    "source": "str",
    "path": "str",
    "sha256": "str",
    "perceptual_hash": "str",
    "width": "Int32",
    "height": "Int32",
    "mode": "str",
    "bytes": "int64",
    "label": "str",
    "breed": "str",
    "group": "str",
    "split": "str",
    "status": "str",
    "reason": "str",
    "shard": "str",
    "row": "Int64",
    "unconfounded": "bool",
}


class Dataset:
    """A finished dataset folder, for reading."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        if not (folder / MANIFEST).is_file():
            raise PawflowError(f"{folder} holds no {MANIFEST}; expected the output folder of the fuse step")

    @cached_property
    def manifest(self) -> pd.DataFrame:
        """One row per image seen; columns as in `MANIFEST_COLUMNS`."""
        return pd.read_parquet(self.folder / MANIFEST)

    @cached_property
    def report(self) -> dict[str, object]:
        """What fuse counted and proved."""
        report: dict[str, object] = json.loads((self.folder / REPORT).read_text())
        return report

    @property
    def digest(self) -> str:
        """Identity of the dataset."""
        return str(self.report["digest"])

    @property
    def classes(self) -> list[str]:
        """Class names; a label's position here is its number everywhere."""
        classes = self.report["classes"]
        assert isinstance(classes, list)
        return classes

    @property
    def image_size(self) -> int:
        """Side of the stored squares, in pixels."""
        return int(str(self.report["image_size"]))

    @property
    def resize(self) -> str:
        """How photos became these squares."""
        return str(self.report["resize"])

    def rows(self, split: str) -> pd.DataFrame:
        """Manifest rows of a split in the order of their pixels."""
        return self.manifest[self.manifest["split"] == split].sort_values(["shard", "row"], ignore_index=True)

    def images(self, split: str) -> Images:
        """Pixels of a split in the order of `rows`."""
        return Images(list_shards(self.folder, split))

    def originals(self) -> Iterator[tuple[str, bytes]]:
        """Yield the id and the encoded bytes of each test image, in the order of `rows("test")`."""
        with zipfile.ZipFile(self.folder / ORIGINALS) as archive:
            for identifier in self.rows("test")["id"]:
                yield identifier, archive.read(identifier)

    def labels(self, split: str) -> NDArray[np.int64]:
        """Class numbers of a split, shape (n,), in the order of `rows`."""
        return self.rows(split)["label"].map(self.classes.index).to_numpy(np.int64)


def find_evidence(folder: Path, name: str) -> Path:
    """One of the files of a dataset that only pages and people read.

    Raises:
        PawflowError: The dataset was made by a version that kept none.
    """
    path = folder / name
    if not path.is_file():
        raise PawflowError(f"{folder} holds no {name}, so an earlier version of this project made it; fuse the archives again")
    return path


def digest_manifest(manifest: pd.DataFrame, image_size: int, resize: str = "squeeze") -> str:
    """Identity of a dataset: what is in it, where it is split, and at which size; independent of row order and of file locations."""
    shape = f"image_size={image_size}\n" + (f"resize={resize}\n" if resize != "squeeze" else "")
    content = manifest[["id", "sha256", "label", "group", "split", "status"]].fillna("").sort_values("id")
    digest = hashlib.sha256(shape.encode())
    digest.update(content.to_csv(index=False, lineterminator="\n").encode())
    return digest.hexdigest()
