"""The on-disk data contract: a manifest with a row for every image seen, and shards of pixels that memory-map.

`manifest.parquet` says where each image came from, what became of it and why, and at which row of which shard its pixels lie. A shard
is a NumPy file of uint8 RGB, shape (n, size, size, 3), named after its split. Fuse writes datasets, augment writes further training
views in the same format, and every later step reads both through `Dataset`. The encoded files of the test split are kept as well, so
that any two models, whatever size of image they take, can be compared on what a caller would send.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from components.common.errors import PawflowError
from serving.images import Pixels

MANIFEST = "manifest.parquet"
REPORT = "report.json"
ORIGINALS = "test-originals.zip"
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

#: Rows of one shard: few enough to copy as one object, many enough that even the largest data set has few shards.
_ROWS_PER_SHARD = 8192


class Images(Sequence[Pixels]):
    """Pixels of several shards, read as one array that stays on disk."""

    def __init__(self, files: Sequence[Path]) -> None:
        self._shards = [np.load(file, mmap_mode="r") for file in files]
        self._starts = np.cumsum([0, *(len(shard) for shard in self._shards)])

    def __len__(self) -> int:
        return int(self._starts[-1])

    def __getitem__(self, index: int | slice) -> Pixels:  # type: ignore[override]
        if isinstance(index, slice):
            return self.take(np.arange(*index.indices(len(self))))
        pixels: Pixels = self.take(np.array([index]))[0]
        return pixels

    def take(self, rows: NDArray[np.int64]) -> Pixels:
        """Copy rows into memory: uint8, shape (len(rows), size, size, 3)."""
        shard_of_row = np.searchsorted(self._starts, rows, side="right") - 1
        pixels = np.empty((len(rows), *self._shards[0].shape[1:]), np.uint8)
        for shard in np.unique(shard_of_row):
            chosen = shard_of_row == shard
            pixels[chosen] = self._shards[shard][rows[chosen] - self._starts[shard]]
        return pixels

    def batches(self, size: int) -> Iterator[Pixels]:
        """Yield consecutive batches of at most `size` images."""
        for start in range(0, len(self), size):
            yield self[start : start + size]


class ImageWriter:
    """Appends images of one split to shards in a folder."""

    def __init__(self, folder: Path, split: str, num_images: int, image_size: int) -> None:
        self._folder, self._split, self._num_images, self._size = folder, split, num_images, image_size
        self._next = 0
        self._shard: np.memmap[tuple[int, ...], np.dtype[np.uint8]] | None = None

    def append(self, pixels: Pixels) -> tuple[str, int]:
        """Write one image; returns the shard's file name and the image's row in it."""
        number, row = divmod(self._next, _ROWS_PER_SHARD)
        name = f"{self._split}-{number:04d}.npy"
        if row == 0:
            self.close()
            rows = min(_ROWS_PER_SHARD, self._num_images - self._next)
            shape = (rows, self._size, self._size, 3)
            self._shard = np.lib.format.open_memmap(self._folder / name, mode="w+", dtype=np.uint8, shape=shape)
        assert self._shard is not None
        self._shard[row] = pixels
        self._next += 1
        return name, row

    def close(self) -> None:
        """Write out what is still in memory."""
        if self._shard is not None:
            self._shard.flush()
            self._shard = None


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
        return Images(sorted(self.folder.glob(f"{split}-*.npy")))

    def originals(self) -> Iterator[tuple[str, bytes]]:
        """Yield the id and the encoded bytes of each test image, in the order of `rows("test")`."""
        with zipfile.ZipFile(self.folder / ORIGINALS) as archive:
            for identifier in self.rows("test")["id"]:
                yield identifier, archive.read(identifier)

    def labels(self, split: str) -> NDArray[np.int64]:
        """Class numbers of a split, shape (n,), in the order of `rows`."""
        return self.rows(split)["label"].map(self.classes.index).to_numpy(np.int64)


def digest_manifest(manifest: pd.DataFrame, image_size: int, resize: str = "squeeze") -> str:
    """Identity of a dataset: what is in it, where it is split, and at which size; independent of row order and of file locations."""
    shape = f"image_size={image_size}\n" + (f"resize={resize}\n" if resize != "squeeze" else "")
    content = manifest[["id", "sha256", "label", "group", "split", "status"]].fillna("").sort_values("id")
    digest = hashlib.sha256(shape.encode())
    digest.update(content.to_csv(index=False, lineterminator="\n").encode())
    return digest.hexdigest()
