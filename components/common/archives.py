"""Archives from strangers: the one way in which the project opens a zip file, a tar file or a folder.

In: a path. Out: names, sizes and bytes of its files. Nothing is ever unpacked by name: a reader asks for the bytes of one file at a time,
so an archive cannot write anywhere. What it could still do is lie about names and sizes, or be small and unpack to more than a disk
holds; such an archive is refused as a whole, before any of its files is read.
"""

from __future__ import annotations

import bz2
import errno
import gzip
import lzma
import posixpath
import shutil
import stat
import struct
import tarfile
import tempfile
import zipfile
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any, TypeVar

from components.common.errors import PawflowError
from components.common.names import check_name, list_folder, refuse, show

#: What an archive is called when it stands by itself, the longest ending first.
SUFFIXES = (".tar.gz", ".tar.bz2", ".tar.xz", ".tgz", ".tar", ".zip")

#: Most bytes of one file that is read into memory: more than any camera writes, little enough that some dozens are held at once.
MAX_FILE_BYTES = 64 << 20
#: Most files: three ImageNets. Each name costs about a kilobyte of memory.
MAX_FILES = 4_000_000
#: Most bytes of content for a byte of archive. Photos do not shrink at all and tables by ten times; a bomb needs thousands.
MAX_RATIO = 100
#: Content that is not judged by the ratio: it is read in a second, and a few drawings of one colour may well shrink a thousandfold.
RATIO_FREE_BYTES = 64 << 20
#: What the standard library raises for an archive that is damaged, cut short, encrypted (RuntimeError) or packed in an unknown way.
_UNREADABLE = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    EOFError,
    RuntimeError,
    ValueError,
    OverflowError,
    MemoryError,
)

_COMPRESSED_TAR: dict[bytes, Callable[..., Any]] = {b"\x1f\x8b": gzip.open, b"BZ": bz2.open, b"\xfd7": lzma.open}
_CHUNK = 1 << 20

Member = TypeVar("Member")


class Archive(ABC):
    """Files by name, whatever holds them.

    Attributes:
        name: What to call it in a message.
        sizes: Bytes of each file, in the order in which they are stored; reading in that order is fast.
        budget: Most bytes that all its files together may hold.
    """

    name: str
    sizes: Mapping[str, int]
    budget: float

    @abstractmethod
    def open(self, name: str) -> IO[bytes]:
        """The content of a file as a stream."""


class _Zip(Archive):
    def __init__(self, stream: IO[bytes], name: str, stack: ExitStack, budget: float) -> None:
        self.name, self.budget = name, budget
        self._zip = stack.enter_context(zipfile.ZipFile(stream))
        self._members: dict[str, zipfile.ZipInfo] = {}
        for member in self._zip.infolist():
            # `zipfile` ends a name at its first NUL; the name as stored is the one to judge.
            check_name(member.orig_filename, self.name)
            if member.is_dir():
                continue
            kind = stat.S_IFMT(member.external_attr >> 16)
            if kind not in (0, stat.S_IFREG):
                raise refuse(self.name, f"its member {show(member.filename)} is a link or a device", "pack plain files only")
            _add(member.filename, member, self._members, self.name)
        self.sizes = {name: member.file_size for name, member in self._members.items()}
        _check_sizes(self)

    def open(self, name: str) -> IO[bytes]:
        return self._zip.open(self._members[name])


class _Tar(Archive):
    def __init__(self, stream: IO[bytes], name: str, stack: ExitStack, budget: float) -> None:
        self.name, self.budget = name, budget
        unpack = _COMPRESSED_TAR.get(_peek(stream))
        bounded = _Bounded(stack.enter_context(unpack(stream)) if unpack else stream, self)
        self._tar = stack.enter_context(tarfile.TarFile(fileobj=bounded))  # type: ignore[arg-type]
        self._members: dict[str, tarfile.TarInfo] = {}
        for member in self._tar:
            check_name(member.name, self.name)
            if member.isdir():
                continue
            if member.type not in (tarfile.REGTYPE, tarfile.AREGTYPE):
                raise refuse(self.name, f"its member {show(member.name)} is a link, a device or sparse", "pack plain files only")
            _add(member.name, member, self._members, self.name)
        self.sizes = {name: member.size for name, member in self._members.items()}
        _check_sizes(self)
        # `tarfile` takes a damaged header for the end of the archive, and stops before the checksum of a compressed stream.
        bounded.seek(self._tar.offset)
        if any(bounded.read(tarfile.BLOCKSIZE)):
            raise tarfile.ReadError(f"no header at byte {self._tar.offset:,}")
        while bounded.read(_CHUNK):
            pass

    def open(self, name: str) -> IO[bytes]:
        stream = self._tar.extractfile(self._members[name])
        assert stream is not None
        return stream


class _Folder(Archive):
    def __init__(self, path: Path) -> None:
        self.name, self.budget, self._root = path.name, float("inf"), path
        self._files = dict(list_folder(path))
        self.sizes = {name: file.stat().st_size for name, file in self._files.items()}

    def open(self, name: str) -> IO[bytes]:
        return self._files[name].open("rb")


class _Bounded:
    """The bytes of an unpacked tar file, up to its budget: its headers say how much to read, and may ask for anything."""

    def __init__(self, stream: IO[bytes], archive: Archive) -> None:
        self._stream, self._archive = stream, archive

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= MAX_FILE_BYTES:
            raise refuse(self._archive.name, f"one of its headers claims {size:,} bytes", _GET_ANOTHER)
        self._check(self._stream.tell() + size - _CHUNK)
        return self._stream.read(size)

    def seek(self, position: int) -> int:
        self._check(position)
        return self._stream.seek(position)

    def tell(self) -> int:
        return self._stream.tell()

    def _check(self, position: int) -> None:
        if position > self._archive.budget:
            raise _bomb(self._archive)


_GET_ANOTHER = "get the archive from whoever publishes it"


def _bomb(archive: Archive) -> PawflowError:
    finding = f"it claims to unpack to more than {MAX_RATIO} times its own size, which no archive of images does"
    return refuse(archive.name, finding, _GET_ANOTHER)


def _add(stored_name: str, member: Member, members: dict[str, Member], archive: str) -> None:
    # Some programs for Windows write backslashes, against the format's rules.
    name = posixpath.normpath(stored_name.replace("\\", "/"))
    if name in members:
        raise refuse(archive, f"it holds two files named {show(name)}", "give each file a name of its own and pack it again")
    if len(members) >= MAX_FILES:
        raise refuse(archive, f"it holds more than {MAX_FILES:,} files", "split it into several sources")
    members[name] = member


def _check_sizes(archive: Archive) -> None:
    if sum(archive.sizes.values()) > archive.budget:
        raise _bomb(archive)


@contextmanager
def _readable(name: str) -> Iterator[None]:
    """Turn what the standard library raises for a damaged archive into words."""
    try:
        yield
    except PawflowError:
        raise
    except (*_UNREADABLE, OSError) as error:
        # A full disk is no fault of the archive; the decompressors raise OSError without a number.
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise
        raise PawflowError(f"{name} is not a readable zip or tar archive ({str(error) or type(error).__name__}); fetch it again") from error


@contextmanager
def open_archive(path: Path) -> Iterator[Archive]:
    """Open a zip file, a tar file (plain, gzip, bzip2 or xz) or a folder for reading; what it is is seen from its content.

    Raises:
        PawflowError: It is none of these, damaged, or refused for what it holds.
    """
    if path.is_dir():
        yield _Folder(path)
        return
    with path.open("rb") as stream, _open_stream(stream, path.name, max(RATIO_FREE_BYTES, MAX_RATIO * path.stat().st_size)) as archive:
        yield archive


@contextmanager
def open_inner(archive: Archive, name: str) -> Iterator[Archive]:
    """Open an archive inside another one. It may unpack to what the outer one may, so nesting gains a bomb nothing.

    It is laid in a file without a name for the time, which no killed process leaves behind: random access inside a compressed member
    would be slow.

    Args:
        archive: The outer one.
        name: Of the inner archive.
    """
    with tempfile.TemporaryFile() as inner:
        with _readable(archive.name), archive.open(name) as source:
            shutil.copyfileobj(source, inner, _CHUNK)
        inner.seek(0)
        with _open_stream(inner, posixpath.basename(name), archive.budget) as opened:
            yield opened


@contextmanager
def _open_stream(stream: IO[bytes], name: str, budget: float) -> Iterator[Archive]:
    with ExitStack() as stack:
        with _readable(name):
            archive: Archive = (_Zip if _peek(stream) == b"PK" else _Tar)(stream, name, stack, budget)
        yield archive


def _peek(stream: IO[bytes]) -> bytes:
    start = stream.read(2)
    stream.seek(0)
    return start


def read_file(archive: Archive, name: str) -> bytes:
    """All bytes of one file.

    Raises:
        PawflowError: It is larger than `MAX_FILE_BYTES`.
    """
    if archive.sizes[name] > MAX_FILE_BYTES:
        raise PawflowError(
            f"{show(name)} in {archive.name} is {archive.sizes[name]:,} bytes long, expected at most {MAX_FILE_BYTES:,}; take it out"
        )
    with _readable(archive.name), archive.open(name) as stream:
        return stream.read()


def verify_archive(path: Path) -> None:
    """Read a whole archive against its own checksums.

    Raises:
        PawflowError: It is no archive, is refused, is cut short, holds nothing, or a member does not match its checksum.
    """
    with open_archive(path) as archive:
        if not archive.sizes:
            raise PawflowError(f"{path.name} is an archive without any file; fetch it again")
        for name, size in archive.sizes.items():
            num_bytes = 0
            with _readable(path.name), archive.open(name) as stream:
                while chunk := stream.read(_CHUNK):
                    num_bytes += len(chunk)
            if num_bytes != size:
                raise PawflowError(f"{path.name} is damaged: {show(name)} ends after {num_bytes:,} of {size:,} bytes; fetch it again")


def list_some(names: Iterable[str]) -> str:
    """The first few names, for a message."""
    names = list(names)
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "") or "nothing"
