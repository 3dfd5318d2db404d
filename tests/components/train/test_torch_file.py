"""The reader of PyTorch's files: right numbers from a right file, and nothing but a PawflowError from any other."""

from __future__ import annotations

import builtins
import os
import pickle
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from components.common.errors import PawflowError
from components.train.torch_file import read_torch_file

MAGIC_NUMBER = 0x1950A86A20F9469CFC6C
HEADER = (MAGIC_NUMBER, 1001, {"protocol_version": 1001, "little_endian": True, "type_sizes": {"short": 2, "int": 4, "long": 4}})


def opcodes(value: Any) -> bytes:
    """The pickle instructions that leave `value` on the stack: a pickle without its PROTO and its STOP."""
    return pickle.dumps(value, protocol=2)[2:-1]


def tensor(key: str, num_elements: int, offset: int, size: Any, stride: Any, kind: str = "torch\nFloatStorage") -> bytes:
    """The instructions by which PyTorch pickles a tensor that is a view of the storage `key`."""
    storage = b"(" + opcodes("storage") + f"c{kind}\n".encode() + opcodes(key) + opcodes("cpu") + opcodes(num_elements) + b"NtQ"
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + b"".join(map(opcodes, (offset, size, stride, False))) + b"NtR"


def legacy_file(tensors: dict[str, bytes], storages: dict[str, np.ndarray], header: tuple[Any, ...] = HEADER) -> bytes:
    """What `torch.save(state_dict, _use_new_zipfile_serialization=False)` writes."""
    items = b"".join(opcodes(name) + instructions for name, instructions in tensors.items())
    # BUILD hands over `_metadata`, as every state dict has it.
    state_dict = b"\x80\x02ccollections\nOrderedDict\n)R(" + items + b"u" + opcodes({"_metadata": {"": {"version": 1}}}) + b"b."
    data = b"".join(len(array).to_bytes(8, "little") + array.tobytes() for array in storages.values())
    return b"".join(pickle.dumps(part, protocol=2) for part in header) + state_dict + pickle.dumps(list(storages), protocol=2) + data


def with_state_dict(state_dict: bytes) -> bytes:
    """A file with a right header whose state dict is this pickle."""
    return b"".join(pickle.dumps(part, protocol=2) for part in HEADER) + state_dict + pickle.dumps([], protocol=2)


SIX = np.arange(6, dtype="<f4")
SMALL_FILE = legacy_file({"a": tensor("7", 6, 0, (2, 3), (1, 2)), "b": tensor("7", 6, 4, (2,), (1,))}, {"7": SIX})


class Calling:
    """Pickles as a call of `function`."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call


def test_size_stride_and_offset_are_honoured() -> None:
    tensors = read_torch_file(SMALL_FILE)
    np.testing.assert_array_equal(tensors["a"], [[0, 2, 4], [1, 3, 5]])
    np.testing.assert_array_equal(tensors["b"], [4, 5])
    assert tensors["a"].dtype == np.float32


def test_a_number_and_an_empty_tensor_are_read(tmp_path: Path) -> None:
    counter = tensor("1", 1, 0, (), (), kind="torch\nLongStorage")
    path = tmp_path / "small.pth"
    path.write_bytes(legacy_file({"n": counter, "e": tensor("2", 0, 0, (0, 3), (3, 1))}, {"1": np.array([1 << 40]), "2": SIX[:0]}))
    tensors = read_torch_file(path)
    assert tensors["n"] == 1 << 40
    assert tensors["e"].shape == (0, 3)


@pytest.mark.parametrize("protocol", [0, 1, 2, 4])
@pytest.mark.parametrize("place", ["first pickle", "state dict"])
@pytest.mark.parametrize("function", ["system", "eval", "open"])
def test_a_pickle_that_calls_a_function_is_refused_before_it_runs(tmp_path: Path, function: str, place: str, protocol: int) -> None:
    trace = tmp_path / "it-ran"
    calls = {
        "system": Calling(os.system, f"touch {trace}"),
        "eval": Calling(builtins.eval, f"open({str(trace)!r}, 'w')"),
        "open": Calling(open, str(trace), "w"),
    }
    hostile = pickle.dumps(calls[function], protocol=protocol)
    with pytest.raises(PawflowError, match=f"{function}|pickle instruction"):
        read_torch_file(hostile if place == "first pickle" else with_state_dict(hostile))
    assert not trace.exists()
    pickle.loads(hostile)
    assert trace.exists(), "the pickle is not hostile at all, so the test shows nothing"


@pytest.mark.parametrize(
    ("state_dict", "complaint"),
    [
        pytest.param(b"(S'exit 1'\nios\nsystem\n.", "STRING", id="instance"),
        pytest.param(b"\x80\x02cos\nsystem\n.", "os.system", id="global"),
        pytest.param(b"\x80\x02ctorch\nload\n.", "torch.load", id="another global of torch"),
        pytest.param(b"\x80\x02" + opcodes(("storage", "<f4", "1", "cpu", 1, ("1", 0, 1))) + b"Q.", "storage", id="view of a storage"),
        pytest.param(b"\x80\x02" + opcodes(("module", "os")) + b"Q.", "module", id="persistent id"),
        pytest.param(b"\x80\x02" + opcodes([1]) + b".", r"\[1\]", id="no dictionary"),
        pytest.param(b"\x80\x02" + opcodes({"a": 1}) + b".", "'a': 1", id="no tensor"),
        pytest.param(b"\x80\x02" + opcodes({1: 1}) + b".", "1: 1", id="no name"),
        pytest.param(b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n" + opcodes((None, {"x": 1})) + b"b.", "'x'", id="change our function"),
        pytest.param(b"\x80\x02ccollections\nOrderedDict\n" + opcodes((None, {"x": 1})) + b"b.", "__setstate__", id="change our class"),
        pytest.param(b"\x80\x05\x96" + (1 << 62).to_bytes(8, "little") + b".", "bytearray8|BYTEARRAY8", id="memory for bytes"),
        pytest.param(b"\x80\x02Nr\xff\xff\xff\xff.", "LONG_BINPUT", id="memory for the memo"),
        pytest.param(b"\x80\x020.", "POP", id="empty stack"),
        pytest.param(b"\x80\x02(t", "exhausted", id="no end"),
    ],
)
def test_a_pickle_that_is_no_state_dict_is_refused(state_dict: bytes, complaint: str) -> None:
    with pytest.raises(PawflowError, match=complaint):
        read_torch_file(with_state_dict(state_dict))


@pytest.mark.parametrize(
    ("instructions", "complaint"),
    [
        pytest.param(tensor("1", 6, 0, (7,), (1,)), "exceeds", id="size"),
        pytest.param(tensor("1", 6, 1, (2, 3), (3, 1)), "exceeds", id="offset"),
        pytest.param(tensor("1", 6, 0, (2, 3), (4, 1)), "exceeds", id="stride"),
        pytest.param(tensor("1", 6, 0, (1 << 40,), (0,)), "exceeds", id="repeated without end"),
        pytest.param(tensor("1", 6, 0, (0, 1 << 80), (1, 1)), "exceeds", id="beyond 64 bits"),
        pytest.param(tensor("1", 6, 0, (1,) * 99, (1,) * 99), "exceeds", id="too many axes"),
        pytest.param(tensor("1", 6, 0, (6,), (-1,)), "stride", id="negative stride"),
        pytest.param(tensor("1", 6, -1, (6,), (1,)), "size", id="negative offset"),
        pytest.param(tensor("1", 6, 0, (6,), (1, 1)), "stride", id="lengths differ"),
        pytest.param(tensor("1", 6, 0, 6, 1), "size", id="no tuples"),
        pytest.param(tensor("1", 1 << 60, 0, (6,), (1,)), "6 of 1152921504606846976", id="storage smaller than announced"),
        pytest.param(tensor("2", 6, 0, (6,), (1,)), "list of 1 storages", id="storage without data"),
        pytest.param(tensor("1", 6, 0, (6,), (1,), kind="torch\nHalfStorage"), "HalfStorage", id="other numbers"),
        pytest.param(tensor("1", 6, 0, (6,), (1,), kind="collections\nOrderedDict"), "not a whole storage", id="no numbers"),
    ],
)
def test_a_tensor_outside_its_storage_is_refused(instructions: bytes, complaint: str) -> None:
    with pytest.raises(PawflowError, match=complaint):
        read_torch_file(legacy_file({"a": instructions}, {"1": SIX}))


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        pytest.param(b"", "magic number", id="empty"),
        pytest.param(b"PK\x03\x04", "zip", id="new format"),
        pytest.param(b"<!DOCTYPE html><html>", "magic number", id="web page"),
        pytest.param(legacy_file({}, {}, (1, *HEADER[1:])), "starts with", id="magic number"),
        pytest.param(legacy_file({}, {}, (MAGIC_NUMBER, 1002, {})), "starts with", id="protocol"),
        pytest.param(legacy_file({}, {}, (*HEADER[:2], {"little_endian": False})), "little-endian", id="big-endian"),
        pytest.param(SMALL_FILE + b"x", "1 bytes follow", id="trailing byte"),
        pytest.param(Path("no/such/file.pth"), "No such file", id="no file"),
    ],
)
def test_a_file_of_another_kind_is_refused(data: bytes | Path, complaint: str) -> None:
    with pytest.raises(PawflowError, match=complaint):
        read_torch_file(data)


def test_a_file_cut_short_anywhere_is_refused() -> None:
    for length in range(len(SMALL_FILE)):
        with pytest.raises(PawflowError):
            read_torch_file(SMALL_FILE[:length])


@pytest.mark.filterwarnings("ignore:invalid escape sequence:DeprecationWarning")
def test_damaged_bytes_give_arrays_or_a_pawflow_error() -> None:
    generator = random.Random(0)
    for position in range(len(SMALL_FILE)):
        for _ in range(8):
            damaged = bytearray(SMALL_FILE)
            damaged[position] = generator.randrange(256)
            try:
                tensors = read_torch_file(bytes(damaged))
            except PawflowError:
                continue
            assert all(np.array_equal(array, array.copy(), equal_nan=True) for array in tensors.values())
