"""Pixels on disk: shards, which are NumPy files of uint8 RGB, shape (n, size, size, 3), named after their split.

Written one image after the other, read in any order. Both go through plain reads and writes: pages of a memory map would count as
memory of the process, and grow with the data.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from serving.images import Pixels

#: Rows of one shard: few enough to copy as one object, many enough that even the largest data set has few shards.
_ROWS_PER_SHARD = 8192
_BATCH = 256


class Images(Sequence[Pixels]):
    """Pixels of several shards, read as one array that stays on disk."""

    def __init__(self, files: Sequence[Path]) -> None:
        self._files = files
        # Mapped for their headers alone; no pixel is read through them.
        shards = [np.load(file, mmap_mode="r") for file in files]
        self._shape = shards[0].shape[1:] if shards else (0, 0, 3)
        self._offsets = [shard.offset for shard in shards]
        self._starts = np.cumsum([0, *(len(shard) for shard in shards)])

    def __len__(self) -> int:
        return int(self._starts[-1])

    def __getitem__(self, index: int | slice) -> Pixels:  # type: ignore[override]
        if isinstance(index, slice):
            return self.take(np.arange(*index.indices(len(self))))
        pixels: Pixels = self.take(np.array([index]))[0]
        return pixels

    def take(self, rows: NDArray[np.int64]) -> Pixels:
        """Copy rows into memory: uint8, shape (len(rows), size, size, 3)."""
        pixels = np.empty((len(rows), *self._shape), np.uint8)
        shard_of_row = np.searchsorted(self._starts, rows, side="right") - 1
        for shard in np.unique(shard_of_row):
            with self._files[shard].open("rb", buffering=0) as stream:
                for place in np.flatnonzero(shard_of_row == shard):
                    stream.seek(self._offsets[shard] + int(rows[place] - self._starts[shard]) * pixels[place].nbytes)
                    stream.readinto(pixels[place])
        return pixels

    def batches(self, size: int = _BATCH) -> Iterator[Pixels]:
        """Yield consecutive batches of at most `size` images, each of shape (k, side, side, 3)."""
        for start in range(0, len(self), size):
            yield self[start : start + size]


class ImageWriter:
    """Appends images of one split to shards in a folder, for use in a `with` statement."""

    def __init__(self, folder: Path, split: str, image_size: int) -> None:
        self._folder, self._split, self._shape = folder, split, (image_size, image_size, 3)
        self._num_images = 0
        self._stream: BinaryIO | None = None

    def __enter__(self) -> ImageWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._finish_shard()

    def append(self, pixels: Pixels) -> int:
        """Write one image; returns its position in the split."""
        number, row = divmod(self._num_images, _ROWS_PER_SHARD)
        if row == 0:
            self._finish_shard()
            path = self._folder / _name_shard(self._split, number)
            # What is there already is overwritten in place: `keep_images` may still be reading what follows.
            self._stream = path.open("r+b" if path.exists() else "xb", buffering=0)
            self._write_header(_ROWS_PER_SHARD)
        assert self._stream is not None
        self._stream.write(np.ascontiguousarray(pixels).data)
        self._num_images += 1
        return self._num_images - 1

    def _finish_shard(self) -> None:
        if self._stream is not None:
            self._stream.truncate()
            self._stream.seek(0)
            self._write_header((self._num_images - 1) % _ROWS_PER_SHARD + 1)
            self._stream.close()
            self._stream = None

    def _write_header(self, num_rows: int) -> None:
        """Equally long whatever the number: NumPy leaves room in it for the rows to grow."""
        assert self._stream is not None
        header = {"descr": "|u1", "fortran_order": False, "shape": (num_rows, *self._shape)}
        np.lib.format.write_array_header_1_0(self._stream, header)


def list_shards(folder: Path, split: str) -> list[Path]:
    """The shards of a split in order."""
    return sorted(folder.glob(f"{split}-*.npy"))


def locate(split: str, num_images: int) -> tuple[list[str], list[int]]:
    """For each image of a split in order: the shard that it is in, and its row there."""
    places = [divmod(position, _ROWS_PER_SHARD) for position in range(num_images)]
    return [_name_shard(split, number) for number, _ in places], [row for _, row in places]


def keep_images(folder: Path, split: str, kept: NDArray[np.int64]) -> None:
    """Take all images of a split but some out of its shards, in place.

    Args:
        folder: Of the shards.
        split: Its name.
        kept: Positions of the images that stay, ascending, shape (k,).
    """
    files = list_shards(folder, split)
    images = Images(files)
    if len(kept) == len(images):
        return
    with ImageWriter(folder, split, images[0].shape[0]) as writer:
        # What is written has been read: an image never moves to a later position.
        for start in range(0, len(kept), _BATCH):
            for pixels in images.take(kept[start : start + _BATCH]):
                writer.append(pixels)
    for file in files[-(-len(kept) // _ROWS_PER_SHARD) :]:
        file.unlink()


def _name_shard(split: str, number: int) -> str:
    return f"{split}-{number:04d}.npy"
