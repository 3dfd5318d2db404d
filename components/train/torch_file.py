"""Reads weights that PyTorch saved, without PyTorch and without running anything the file says.

In: a legacy (pre-1.6, non-zip) `torch.save` file. Out: its state dict as numpy arrays.

Why it exists: such a file is a chain of pickles, and a pickle is a program. Besides the pinned checksum (see `weights.py`) it meets two
gates here: only the few opcodes that a state dict needs may occur, and only the few globals that a state dict names may be looked up -
each replaced by an object of ours that holds data and does nothing.

The layout follows `_legacy_save` and `_legacy_load` in pytorch/pytorch, `torch/serialization.py`.
"""

from __future__ import annotations

import io
import math
import pickle
import pickletools
import reprlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from components.common.errors import PawflowError

_MAGIC_NUMBER = 0x1950A86A20F9469CFC6C
_PROTOCOL_VERSION = 1001
_COUNT_BYTES = 8

# Everything a state dict pickled with protocol 2 is made of. What is left out either builds objects in other ways (INST, OBJ, NEWOBJ,
# EXT1, STACK_GLOBAL) or names a size that is reserved before any byte is read (BYTEARRAY8, BINBYTES8).
# fmt: off
_ALLOWED_OPCODES = frozenset({
    "PROTO", "STOP", "MARK", "GLOBAL", "REDUCE", "BUILD", "BINPERSID",
    "NONE", "NEWTRUE", "NEWFALSE", "BININT", "BININT1", "BININT2", "LONG1", "BINUNICODE",
    "EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "EMPTY_LIST", "APPEND", "APPENDS", "EMPTY_DICT", "SETITEM", "SETITEMS",
    "BINGET", "LONG_BINGET", "BINPUT", "LONG_BINPUT",
})
# fmt: on
# The unpickler reserves memory for the highest memo number it meets; a state dict needs about eight per tensor.
_MAX_MEMO_NUMBER = 1 << 20


class _UnreadableError(Exception):
    """What is wrong with a file, as the second half of a sentence that starts with the file's name."""


class _Storage(NamedTuple):
    """A flat run of numbers that tensors are views of, as announced by the pickle; its data comes later in the file."""

    key: str
    dtype: str
    num_elements: int


class _Tensor(NamedTuple):
    """A tensor as announced by the pickle: nothing in it is checked before `_view`."""

    storage: Any
    offset: Any
    size: Any
    stride: Any


class _RebuildTensor:
    """Stands in for `torch._utils._rebuild_tensor_v2`; it has no attributes, so the opcode BUILD finds nothing to change."""

    __slots__ = ()

    def __call__(self, storage: Any, offset: Any, size: Any, stride: Any, *_autograd: Any) -> _Tensor:
        return _Tensor(storage, offset, size, stride)


class _StateDict(dict[Any, Any]):
    """Stands in for `collections.OrderedDict`."""

    __slots__ = ()

    def __setstate__(self, state: Any) -> None:
        """Drop the attribute `_metadata` (versions of torch modules), the only state a state dict carries."""


_ALLOWED_GLOBALS: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): _StateDict,
    ("torch._utils", "_rebuild_tensor_v2"): _RebuildTensor(),
    ("torch", "FloatStorage"): "<f4",
    ("torch", "LongStorage"): "<i8",
}


class _RestrictedUnpickler(pickle.Unpickler):
    """An unpickler that imports nothing: it knows the names in `_ALLOWED_GLOBALS` and no others."""

    def find_class(self, module: str, name: str) -> Any:
        """Return our stand-in for a global of the pickle; refuse any that has none."""
        try:
            return _ALLOWED_GLOBALS[module, name]
        except KeyError:
            raise _UnreadableError(f"it names {reprlib.repr(f'{module}.{name}')}, which no weights need") from None

    def persistent_load(self, pid: Any) -> _Storage:
        """Return the storage that a tensor refers to; refuse any other persistent id."""
        match pid:
            case ("storage", str(dtype), str(key), str(), int(num_elements), None) if dtype in _ALLOWED_GLOBALS.values():
                return _Storage(key, dtype, num_elements)
        raise _UnreadableError(f"it refers to {reprlib.repr(pid)}, which is not a whole storage of float32 or int64 numbers")


def read_torch_file(data: bytes | Path) -> dict[str, np.ndarray]:
    """Read a state dict that PyTorch saved in its legacy format, running none of the code that a pickle can hold.

    Args:
        data: The file, or its content.

    Returns:
        Arrays of float32 or int64 by name. They are views with the strides of the file, so two may share memory.

    Raises:
        PawflowError: The file cannot be opened, is cut short, or holds anything but a dictionary of plain tensors.
    """
    label = str(data) if isinstance(data, Path) else "The data"
    try:
        return _parse(data.read_bytes() if isinstance(data, Path) else data)
    except (OSError, _UnreadableError) as error:
        raise PawflowError(
            f"{label} cannot be read as PyTorch weights: {error}. Expected a state dict written by torch.save in its legacy format "
            "(_use_new_zipfile_serialization=False) and nothing else; fetch the file again from where it was published."
        ) from error


def _parse(data: bytes) -> dict[str, np.ndarray]:
    if data.startswith(b"PK"):
        raise _UnreadableError("it is a zip file, the format of torch 1.6 and later")
    stream = io.BytesIO(data)
    header = [_unpickle(stream, what) for what in ("magic number", "protocol version", "system information")]
    match header:
        case [int(magic), int(version), dict(system)] if magic == _MAGIC_NUMBER and version == _PROTOCOL_VERSION:
            if system.get("little_endian") is not True:
                raise _UnreadableError("its numbers are not little-endian")
        case _:
            raise _UnreadableError(
                f"it starts with {reprlib.repr(header)} instead of torch's magic number and protocol {_PROTOCOL_VERSION}"
            )
    tensors = _unpickle(stream, "state dict")
    keys = _unpickle(stream, "list of storages")
    if not isinstance(tensors, dict):
        raise _UnreadableError(f"it holds {reprlib.repr(tensors)} instead of a dictionary of tensors")
    for name, tensor in tensors.items():
        if not (isinstance(name, str) and isinstance(tensor, _Tensor) and isinstance(tensor.storage, _Storage)):
            raise _UnreadableError(f"it holds {reprlib.repr(name)}: {reprlib.repr(tensor)}, which is not a named tensor")
    storages = _read_storages(data, stream.tell(), keys, {tensor.storage for tensor in tensors.values()})
    return {name: _view(name, tensor, storages[tensor.storage.key]) for name, tensor in tensors.items()}


def _unpickle(stream: io.BytesIO, what: str) -> Any:
    start = stream.tell()
    try:
        for opcode, argument, _ in pickletools.genops(stream):
            if opcode.name not in _ALLOWED_OPCODES or (opcode.name == "LONG_BINPUT" and (argument or 0) > _MAX_MEMO_NUMBER):
                raise _UnreadableError(f"it uses the pickle instruction {opcode.name} {reprlib.repr(argument)}, which no weights need")
        return _RestrictedUnpickler(io.BytesIO(stream.getvalue()[start : stream.tell()])).load()
    except Exception as error:  # Malformed pickles make the unpickler raise nearly anything, and all of it means the same.
        raise _UnreadableError(f"in its {what}, {error or type(error).__name__}") from error


def _read_storages(data: bytes, position: int, keys: Any, announced: set[_Storage]) -> dict[str, np.ndarray]:
    by_key = {storage.key: storage for storage in announced}
    if not isinstance(keys, list) or len(by_key) != len(announced) or sorted(keys, key=str) != sorted(by_key):
        raise _UnreadableError(f"its list of {len(by_key)} storages does not match what its {len(announced)} tensors refer to")
    storages = {}
    for key in keys:
        storage = by_key[key]
        num_elements = int.from_bytes(data[position : position + _COUNT_BYTES], "little", signed=True)
        position += _COUNT_BYTES
        end = position + num_elements * np.dtype(storage.dtype).itemsize
        if num_elements != storage.num_elements or not position <= end <= len(data):
            raise _UnreadableError(
                f"storage {reprlib.repr(key)} has {num_elements} of {storage.num_elements} numbers, "
                f"ending at byte {end} of {len(data)}: the file is cut short or damaged"
            )
        # Copied because the data lie unaligned in the file; together the copies are smaller than the file.
        storages[key] = np.ndarray(num_elements, storage.dtype, data, position).copy()
        position = end
    if position != len(data):
        raise _UnreadableError(f"{len(data) - position} bytes follow the last storage")
    return storages


def _view(name: str, tensor: _Tensor, storage: np.ndarray) -> np.ndarray:
    _, offset, size, stride = tensor
    are_tuples = isinstance(size, tuple) and isinstance(stride, tuple) and len(size) == len(stride)
    if not are_tuples or not all(isinstance(number, int) and number >= 0 for number in (offset, *size, *stride)):
        raise _UnreadableError(f"{reprlib.repr(name)} has the size {reprlib.repr(size)} with the stride {reprlib.repr(stride)}")
    # A stride of 0 repeats numbers: unchecked, a few bytes could announce a tensor of any size.
    if math.prod(size) <= len(storage):
        try:
            strides = tuple(step * storage.itemsize for step in stride)
            return np.ndarray(size, storage.dtype, storage, offset * storage.itemsize, strides)
        except (ValueError, OverflowError):  # From numpy's own check that the view stays inside the storage.
            pass
    raise _UnreadableError(
        f"{reprlib.repr(name)}, of size {reprlib.repr(size)} and stride {reprlib.repr(stride)} from number {offset}, "
        f"exceeds its storage of {len(storage)} numbers"
    )
