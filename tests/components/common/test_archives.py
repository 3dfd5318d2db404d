"""Archives that lie: each is refused with a reason, quickly, and nothing is written anywhere."""

from __future__ import annotations

import contextlib
import errno
import gzip
import io
import os
import random
import struct
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from components.common import archives
from components.common.archives import open_archive, open_inner, read_file, verify_archive
from components.common.errors import PawflowError
from components.common.names import check_name


def zipped(files: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return stream.getvalue()


def tarred(*members: tuple[tarfile.TarInfo, bytes], mode: str = "w") -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode=mode) as archive:  # type: ignore[call-overload]
        for member, data in members:
            archive.addfile(member, io.BytesIO(data))
    return stream.getvalue()


def tar_member(name: str, *, size: int = 0, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.size, member.type, member.linkname = size, kind, link
    return member


def zip_link() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        member = zipfile.ZipInfo("cat/1.jpg")
        member.create_system, member.external_attr = 3, 0o120777 << 16
        archive.writestr(member, "/etc/passwd")
    return stream.getvalue()


def zip_with_name(name: bytes) -> bytes:
    """A zip file with a name that `zipfile` would not write."""
    placeholder = b"x" * len(name)
    return zipped({placeholder.decode(): b"data"}).replace(placeholder, name)


def zip_with_declared_size(size: int) -> bytes:
    data = bytearray(zipped({"cat/1.jpg": b"data"}))
    for signature, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        struct.pack_into("<I", data, data.index(signature) + offset, size)
    return bytes(data)


def twice() -> bytes:
    return zipped({"cat/1.jpg": b"one", "cat/2.jpg": b"two"}).replace(b"cat/2.jpg", b"cat/1.jpg")


def encrypted() -> bytes:
    data = bytearray(zipped({"a.txt": b"secret"}))
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(signature) + offset] |= 1
    return bytes(data)


def pax_bomb() -> bytes:
    """A tar file whose header claims a gigabyte of further header."""
    header = tar_member("x", size=1 << 30, kind=tarfile.XHDTYPE)
    return header.tobuf() + bytes(1 << 16)


def pax_member(headers: dict[str, str]) -> bytes:
    member = tar_member("cat/1.jpg", size=1)
    member.pax_headers = headers
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as archive:
        archive.addfile(member, io.BytesIO(b"x"))
    return stream.getvalue()


def long_name() -> bytes:
    return tar_member("././@LongLink", size=5, kind=tarfile.GNUTYPE_LONGNAME).tobuf() + b"name\0".ljust(512, b"\0")


def unknown_method() -> bytes:
    data = bytearray(zipped({"cat/1.jpg": b"data"}))
    for signature, offset in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):
        struct.pack_into("<H", data, data.index(signature) + offset, 99)
    return bytes(data)


def cut(data: bytes, num_bytes: int) -> bytes:
    """A zip file that lacks the end of its directory, but not the record after it."""
    end = data.index(b"PK\x05\x06")
    return data[: end - num_bytes] + data[end:]


def overlapping() -> bytes:
    """A thousand names for one compressed megabyte, as in the zip bombs that do not nest."""
    one = zipped({"a": bytes(1 << 20)}, zipfile.ZIP_DEFLATED)
    start = one.index(b"PK\x01\x02")
    end = one.index(b"PK\x05\x06")
    entry = one[start:end]
    directory = b"".join(
        entry[:-1] + b"" if number == 0 else entry[:28] + struct.pack("<H", 4) + entry[30:46] + b"%04d" % number for number in range(1000)
    )
    directory = entry + directory[len(entry) - 1 :]
    return one[:start] + directory + struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 1000, 1000, len(directory), start, 0)


HOSTILE: dict[str, tuple[Callable[[], bytes], str]] = {
    "zip that climbs out": (lambda: zipped({"../../evil.jpg": b"x"}), "leads out of the archive"),
    "zip that climbs out by backslash": (lambda: zip_with_name(b"..\\..\\evil.jpg"), "leads out of the archive"),
    "zip with an absolute path": (lambda: zipped({"/etc/evil": b"x"}), "absolute path"),
    "zip with a drive": (lambda: zipped({"C:/evil": b"x"}), "absolute path"),
    "zip with a link": (zip_link, "link or a device"),
    "zip with NUL in a name": (lambda: zip_with_name(b"cat/1.jpg\x00.exe"), "control characters"),
    "zip with a line break in a name": (lambda: zip_with_name(b"cat/1\nerror: all lost"), "control characters"),
    "zip with one name twice": (twice, "two files named"),
    "zip of zeros": (lambda: zipped({"cat/1.jpg": bytes(80 << 20)}, zipfile.ZIP_DEFLATED), "more than 100 times its own size"),
    "zip with a huge declared size": (lambda: zip_with_declared_size(0xFFFFFFF0), "more than 100 times its own size"),
    "zip of overlapping files": (overlapping, "more than 100 times its own size"),
    "encrypted zip": (encrypted, "not a readable zip"),
    "tar that climbs out": (lambda: tarred((tar_member("../evil", size=1), b"x")), "leads out of the archive"),
    "tar with an absolute path": (lambda: tarred((tar_member("/etc/evil", size=1), b"x")), "absolute path"),
    "tar with a symbolic link": (lambda: tarred((tar_member("cat/1.jpg", kind=tarfile.SYMTYPE, link="/etc/passwd"), b"")), "is a link"),
    "tar with a hard link": (lambda: tarred((tar_member("cat/1.jpg", kind=tarfile.LNKTYPE, link="/etc/passwd"), b"")), "is a link"),
    "tar with a device": (lambda: tarred((tar_member("cat/1.jpg", kind=tarfile.CHRTYPE), b"")), "is a link, a device"),
    "tar with one name twice": (lambda: tarred(*[(tar_member("cat/1.jpg", size=1), b"x")] * 2), "two files named"),
    "tar of zeros": (lambda: tarred((tar_member("cat/1.jpg", size=80 << 20), bytes(80 << 20)), mode="w:gz"), "more than 100 times"),
    "tar with a huge declared size": (
        lambda: tar_member("cat/1.jpg", size=1 << 40).tobuf() + bytes(1024),
        "more than 100 times|not a readable",
    ),
    "tar with a huge header": (pax_bomb, "claims 1,073,741,824 bytes"),
    "tar with a name that is no text": (lambda: tarred((tar_member("cat/\udcff.jpg", size=1), b"x")), "not UTF-8"),
    "a page instead of an archive": (lambda: b"<html>sign in</html>", "not a readable zip or tar"),
    "nothing": (lambda: b"", "not a readable zip or tar"),
    "zip without files": (lambda: zipped({"cat/": b""}), "without any file"),
    "zeros, compressed": (lambda: gzip.compress(bytes(1 << 20)), "without any file"),
    "compressed twice": (lambda: gzip.compress(gzip.compress(bytes(1 << 20))), "not a readable zip or tar"),
    "zip with half a directory": (lambda: cut(zipped({f"cat/{number}.jpg": b"x" * 99 for number in range(50)}), 700), "not a readable zip"),
    "zip with a member of another name": (lambda: zipped({"cat/1.jpg": b"x"}).replace(b"cat/1.jpg", b"dog/1.jpg", 1), "not a readable zip"),
    "zip packed in an unknown way": (unknown_method, "not a readable zip"),
    "tar with a negative size": (lambda: pax_member({"size": "-512"}), "two files named|not a readable"),
    "tar that climbs out by its pax header": (lambda: pax_member({"path": "../../evil"}), "leads out of the archive"),
    "tar with a huge size in its pax header": (lambda: pax_member({"size": "9" * 14}), "more than 100 times"),
    "tar with a chain of long names": (lambda: long_name() * 5000 + tarred((tar_member("x", size=1), b"x")), "not a readable zip or tar"),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_archive_is_refused(kind: str, tmp_path: Path) -> None:
    make, message = HOSTILE[kind]
    path = tmp_path / "photos.zip"
    path.write_bytes(make())
    with pytest.raises(PawflowError, match=message):
        verify_archive(path)
    assert list(tmp_path.iterdir()) == [path]


def test_nesting_gains_a_bomb_nothing(tmp_path: Path) -> None:
    inner = zipped({"train/cat.0.jpg": bytes(70 << 20)}, zipfile.ZIP_DEFLATED)
    path = tmp_path / "photos.zip"
    path.write_bytes(zipped({"train.zip": inner}))
    refused = pytest.raises(PawflowError, match=r"train\.zip is refused.*more than 100 times")
    with open_archive(path) as archive, refused, open_inner(archive, "train.zip"):
        pass
    assert list(tmp_path.iterdir()) == [path]


def test_a_lying_size_yields_no_more_than_it_says(tmp_path: Path) -> None:
    path = tmp_path / "photos.zip"
    path.write_bytes(zip_with_declared_size(2))
    with open_archive(path) as archive, pytest.raises(PawflowError, match="not a readable zip"):
        read_file(archive, "cat/1.jpg")


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_tar_files_of_every_kind_are_read(mode: str, tmp_path: Path) -> None:
    path = tmp_path / "photos.tar"
    files = {"cat/1.jpg": b"cat", "dog/2.jpg": b"dog" * 1000}
    path.write_bytes(tarred(*[(tar_member(f"./{name}", size=len(data)), data) for name, data in files.items()], mode=mode))
    verify_archive(path)
    with open_archive(path) as archive:
        assert {name: read_file(archive, name) for name in reversed(list(archive.sizes))} == files


def test_a_tar_file_that_ends_in_a_zip_file_is_a_tar_file(tmp_path: Path) -> None:
    inner = zipped({"a": b"x"})
    path = tmp_path / "photos.tar"
    path.write_bytes(tarred((tar_member("inner.zip", size=len(inner)), inner)))
    with open_archive(path) as archive:
        assert list(archive.sizes) == ["inner.zip"]


def test_a_folder_is_read_and_its_links_stay_inside(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    (folder / "cat").mkdir(parents=True)
    (folder / "cat" / "1.jpg").write_bytes(b"cat")
    (folder / "cat" / "2.jpg").symlink_to(folder / "cat" / "1.jpg")
    with open_archive(folder) as archive:
        assert {name: read_file(archive, name) for name in archive.sizes} == {"cat/1.jpg": b"cat", "cat/2.jpg": b"cat"}
    for target in ("/etc/passwd", folder / "cat", folder / "nowhere"):
        (folder / "link").symlink_to(target)
        with pytest.raises(PawflowError, match="is a link to"), open_archive(folder):
            pass
        (folder / "link").unlink()
    os.mkfifo(folder / "pipe")
    with pytest.raises(PawflowError, match="neither a file nor a folder"), open_archive(folder):
        pass


def test_a_file_too_large_for_memory_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "MAX_FILE_BYTES", 10)
    path = tmp_path / "photos.zip"
    path.write_bytes(zipped({"cat/1.jpg": b"x" * 11}))
    with open_archive(path) as archive, pytest.raises(PawflowError, match="is 11 bytes long, expected at most 10"):
        read_file(archive, "cat/1.jpg")


def test_a_full_disk_is_not_blamed_on_the_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "photos.zip"
    path.write_bytes(zipped({"train.zip": zipped({})}))

    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("shutil.copyfileobj", fail)
    with open_archive(path) as archive, pytest.raises(OSError, match="No space"), open_inner(archive, "train.zip"):
        pass


FILES = {f"cat/{number}.jpg": random.Random(number).randbytes(200) for number in range(5)}
MEMBERS = [(tar_member(name, size=len(data)), data) for name, data in FILES.items()]


def damaged(*wholes: bytes) -> Iterator[bytes]:
    chance = random.Random(0)
    for whole in wholes:
        for _ in range(60):
            data = bytearray(whole[: chance.choice([len(whole), chance.randrange(len(whole))])])
            for _ in range(chance.choice([0, 1, 8])):
                if data:
                    data[chance.randrange(len(data))] = chance.randrange(256)
            yield bytes(data)


def test_damage_of_any_kind_is_reported_in_words_or_does_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "photos.zip"
    compressed = (tarred(*MEMBERS, mode=mode) for mode in ("w:gz", "w:bz2", "w:xz"))
    for data in damaged(zipped(FILES), zipped(FILES, zipfile.ZIP_DEFLATED), *compressed):
        path.write_bytes(data)
        with contextlib.suppress(PawflowError):
            verify_archive(path)
            with open_archive(path) as archive:
                assert {name: read_file(archive, name) for name in archive.sizes} == FILES


def test_damage_to_a_plain_tar_file_is_reported_in_words_where_it_shows(tmp_path: Path) -> None:
    """It has checksums of its headers alone."""
    path = tmp_path / "photos.tar"
    for data in damaged(tarred(*MEMBERS)):
        path.write_bytes(data)
        with contextlib.suppress(PawflowError):
            verify_archive(path)
    whole = bytearray(tarred(*MEMBERS))
    whole[whole.index(b"cat/2.jpg")] ^= 1
    path.write_bytes(whole)
    with pytest.raises(PawflowError, match="is not a readable zip or tar archive .no header at byte 2,048.; fetch it again"):
        verify_archive(path)


def test_a_compressed_tar_file_is_read_to_its_checksum(tmp_path: Path) -> None:
    """One bit of a photo that is stored as it is, and an end that is missing."""
    path, whole = tmp_path / "photos.tar.gz", gzip.compress(tarred(*MEMBERS), 0)
    flipped = bytearray(whole)
    flipped[whole.index(FILES["cat/2.jpg"])] ^= 1
    for data, reason in ((bytes(flipped), "CRC check failed"), (whole[:-8], "ended before the end-of-stream marker")):
        path.write_bytes(data)
        with pytest.raises(PawflowError, match=reason):
            verify_archive(path)


@pytest.mark.parametrize("name", ["", "a" * 5000, "\\\\server\\share", "a/../../b", "\x7f"])
def test_names_that_no_file_should_have(name: str) -> None:
    with pytest.raises(PawflowError, match="is refused"):
        check_name(name, "photos.zip")
