"""Your own images: packed the same each time, fetched anew when they change, and nothing from outside the folder."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from components.common.errors import PawflowError
from components.common.recipe import Source
from components.common.store import hash_file
from components.download.download import download, identify
from components.download.packing import pack
from components.download.sources import Request, folder
from components.fuse.layouts import read_entries


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    for name in ("cat/1.jpg", "cat/2.jpg", "dog/1.jpg"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode())
    return folder


def request_for(path: Path, root: Path | None = None) -> Request:
    return Request(Source(name="photos", provider="folder", path=path), root, seed=0)


def fetch(request: Request, out: Path) -> Path:
    out.mkdir()
    download(request, out)
    return out / "photos.zip"


def test_a_folder_becomes_one_file_that_depends_on_its_content_alone(photos: Path, tmp_path: Path) -> None:
    first = fetch(request_for(photos), tmp_path / "first")
    assert {path.name for path in first.parent.iterdir()} == {"photos.zip", "source.json"}
    assert {entry.path: entry.label for entry in read_entries("class_folders", first)} == {
        "cat/1.jpg": "cat",
        "cat/2.jpg": "cat",
        "dog/1.jpg": "dog",
    }
    before = identify(request_for(photos))
    for path in photos.rglob("*"):
        os.utime(path, (0, 0))
        path.chmod(0o700)
    moved = photos.rename(tmp_path / "elsewhere")
    assert identify(request_for(moved)) == before
    assert hash_file(fetch(request_for(moved), tmp_path / "second")) == hash_file(first)
    (moved / "dog" / "1.jpg").write_bytes(b"another")
    assert identify(request_for(moved)) != before


def test_a_relative_path_starts_where_the_command_is_run(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(photos.parent)
    assert fetch(request_for(Path("photos")), tmp_path / "out").is_file()


def test_a_folder_under_the_root_is_packed_as_well(photos: Path, tmp_path: Path) -> None:
    assert fetch(request_for(tmp_path / "unused", root=photos.parent), tmp_path / "out").is_file()


def test_a_folder_that_changes_meanwhile_is_not_taken(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "out").mkdir()
    for change in (lambda: (photos / "dog" / "9.jpg").write_bytes(b"late"), (photos / "dog" / "1.jpg").unlink):

        def meddle(files: Iterable[tuple[str, Path]], archive: Path, change: Callable[[], object] = change) -> None:
            change()
            pack(files, archive)

        with monkeypatch.context() as meddled:
            meddled.setattr(folder, "pack", meddle)
            with pytest.raises(PawflowError, match="photos changed while it was read; run again"):
                download(request_for(photos), tmp_path / "out")


def test_a_link_to_itself_is_refused(photos: Path) -> None:
    (photos / "cat" / "loop.jpg").symlink_to(photos / "cat" / "loop.jpg")
    with pytest.raises(PawflowError, match=r"'cat/loop.jpg' is a link that leads to itself; take it out"):
        identify(request_for(photos))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_class_that_may_not_be_read_is_not_passed_over(photos: Path) -> None:
    (photos / "dog").chmod(0)
    with pytest.raises(PermissionError):
        identify(request_for(photos))


def test_links_that_lead_out_are_refused(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "secret.jpg").write_bytes(b"private")
    (photos / "cat" / "3.jpg").symlink_to(tmp_path / "secret.jpg")
    for work in (identify, lambda request: download(request, tmp_path)):
        with pytest.raises(PawflowError, match=r"'cat/3.jpg' is a link to .*copy what it points to"):
            work(request_for(photos))


def test_a_path_that_holds_nothing_says_so(tmp_path: Path) -> None:
    with pytest.raises(PawflowError, match="is no folder; expected the images of source 'photos' there"):
        identify(request_for(tmp_path / "none"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(PawflowError, match="holds no files"):
        download(request_for(tmp_path / "empty"), tmp_path)
