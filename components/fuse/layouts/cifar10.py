"""CIFAR-10 as its authors publish it: Python pickles of 10,000 images each, `cifar-10-batches-py/data_batch_1` and so on.

A pickle is a program, and loading one runs it. This reader's unpickler knows a few constructors, all stand-ins defined here that can
build bytes and arrays of them and nothing else, so whatever a file asks for, no code of it or of any library runs. Each image is passed
on as a PNG file, which keeps every pixel.
"""

from __future__ import annotations

import io
import pickle
import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import numpy as np
from PIL import Image

from components.common.archives import Archive, list_some, read_file
from components.common.errors import PawflowError
from components.fuse.layouts.item import Item, find_item
from serving.images import Pixels

SIDE = 32
_BATCH = re.compile(r"(?:.*/)?(?:data_batch_\d+|test_batch)")
_NAMES = "batches.meta"


class _Type:
    """Stands in for a NumPy data type; its name is all that is looked at."""

    def __init__(self, name: object = None, *_: object) -> None:
        self.name = name

    def __setstate__(self, state: object) -> None:
        """Byte order and alignment, which bytes do not have."""


class _Array:
    """Stands in for a NumPy array: rows of bytes."""

    def __init__(self, *_: object) -> None:
        self.rows: Pixels | None = None

    def __setstate__(self, state: tuple[object, tuple[int, ...], _Type, bool, bytes]) -> None:
        """Take shape and content, if they are those of a batch."""
        _, shape, kind, by_column, content = state
        if kind.name not in (b"u1", "u1") or by_column or not isinstance(content, bytes):
            raise pickle.UnpicklingError("an array that does not hold bytes row by row")
        self.rows = np.frombuffer(content, np.uint8).reshape(shape)


def _encode_text(text: object, encoding: object) -> bytes:
    """Stands in for `_codecs.encode`, by which newer Pythons write bytes in the old format of the files."""
    if not isinstance(text, str) or encoding not in ("latin1", b"latin1"):
        raise pickle.UnpicklingError("bytes in an unknown encoding")
    return text.encode("latin1")


def _no_bytes() -> bytes:
    """Stands in for `bytes`, by which newer Pythons write empty ones in the old format; it takes no length to set aside."""
    return b""


_CONSTRUCTORS = {
    ("numpy.core.multiarray", "_reconstruct"): _Array,
    ("numpy._core.multiarray", "_reconstruct"): _Array,
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Type,
    ("_codecs", "encode"): _encode_text,
    ("__builtin__", "bytes"): _no_bytes,
}


# The unpickler written in Python: the one in C sets aside as much memory as a hostile file asks for.
class _Unpickler(pickle._Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _CONSTRUCTORS:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no batch of images needs")
        return _CONSTRUCTORS[module, name]


def load_pickle(data: bytes, name: str) -> dict[bytes, Any]:
    """Read one of the files without running what it says.

    Raises:
        PawflowError: It is no pickle of a dictionary, or needs more than the constructors of an array.
    """
    try:
        content = _Unpickler(io.BytesIO(data), encoding="bytes").load()
        if not isinstance(content, dict):
            raise pickle.UnpicklingError(f"it holds a {type(content).__name__}")
    except Exception as error:  # A malformed pickle can raise anything; the stand-ins raise UnpicklingError.
        raise PawflowError(f"{name} is not read: {error or type(error).__name__}; expected a batch of CIFAR-10. Fetch it again") from error
    return content


def _load_batch(archive: Archive, name: str, num_classes: int) -> tuple[Pixels, list[int]]:
    """Pixels, shape (images, 32, 32, 3), and label numbers of one batch."""
    batch = load_pickle(read_file(archive, name), name)
    array, labels = batch.get(b"data"), batch.get(b"labels")
    rows = array.rows if isinstance(array, _Array) else None
    sound = rows is not None and isinstance(labels, list) and rows.shape == (len(labels), 3 * SIDE * SIDE)
    if rows is None or labels is None or not sound or not all(isinstance(label, int) and 0 <= label < num_classes for label in labels):
        raise PawflowError(f"{name} in {archive.name} does not hold images of {SIDE} x {SIDE} pixels with a label each; fetch it again")
    return rows.reshape(-1, 3, SIDE, SIDE).transpose(0, 2, 3, 1), labels


def _encode(pixels: Pixels) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG", compress_level=1)
    return stream.getvalue()


def read(archive: Archive) -> Iterator[Item]:
    """Yield the images of all batches, one batch in memory at a time, and every other file.

    Raises:
        PawflowError: A batch, or the list of names, is missing or damaged.
    """
    batches = [name for name in archive.sizes if _BATCH.fullmatch(name)]
    names = next((name for name in archive.sizes if name.rsplit("/", 1)[-1] == _NAMES), None)
    if not batches or names is None:
        raise PawflowError(
            f"{archive.name} holds {list_some(archive.sizes)}; expected data_batch_1 and {_NAMES}, as in CIFAR-10's Python version"
        )
    classes = load_pickle(read_file(archive, names), names).get(b"label_names")
    if not isinstance(classes, list) or not all(isinstance(name, bytes) for name in classes):
        raise PawflowError(f"{names} in {archive.name} holds no list of label_names; fetch it again")
    classes = [name.decode("ascii", errors="replace") for name in classes]

    @lru_cache(maxsize=1)
    def load(batch: str) -> tuple[Pixels, list[int]]:
        return _load_batch(archive, batch, len(classes))

    def read_image(batch: str, number: int) -> bytes:
        return _encode(load(batch)[0][number])

    for batch in batches:
        for number, label in enumerate(load(batch)[1]):
            yield Item(f"{batch}/{number:05d}.png", classes[label], read=lambda batch=batch, number=number: read_image(batch, number))  # type: ignore[misc]
    for name in archive.sizes:
        if name not in batches and name != names:
            yield find_item(archive, name, None)
