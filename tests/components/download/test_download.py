from __future__ import annotations

import json
from pathlib import Path

import pytest

from components.common.errors import PawflowError
from components.common.recipe import Source
from components.download.download import check, download, identify
from components.download.sources import Request
from components.download.sources.sample import write_archive


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "mine"
    folder.mkdir()
    write_archive("dogs-vs-cats", folder / "dogs-vs-cats.zip", num_images=24, seed=0)
    return folder


def request_for(root: Path | None, provider: str = "local", name: str = "dogs-vs-cats") -> Request:
    num_images = 24 if provider == "sample" else 600
    return Request(Source(name=name, provider=provider, layout="dogs_vs_cats", num_images=num_images), root, seed=0)


def test_a_local_archive_is_copied_with_its_provenance(root: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    download(request_for(root), out)
    details = json.loads((out / "source.json").read_text())
    assert details["origin"] == str(root / "dogs-vs-cats.zip")
    assert details["generated"] is False
    assert "non-commercial" in details["terms"]
    assert (out / "dogs-vs-cats.zip").read_bytes() == (root / "dogs-vs-cats.zip").read_bytes()
    assert (out / "dogs-vs-cats.zip").stat().st_ino != (root / "dogs-vs-cats.zip").stat().st_ino, "a link would share later changes"


def test_a_root_replaces_every_provider(root: Path) -> None:
    (place,) = request_for(root, "kaggle").places()
    assert place.source.provider == "local"
    assert identify(request_for(root, "kaggle")) == identify(request_for(root, "local"))
    with pytest.raises(PawflowError, match="known ones: local, sample"):
        check(request_for(None, "ftp"))
    with pytest.raises(PawflowError, match="needs url and sha256"):
        check(request_for(None, "http"))


def test_a_missing_archive_says_where_to_get_it(tmp_path: Path) -> None:
    for root, message in ((None, "the recipe names no folder"), (tmp_path, "does not hold the archive of source .dogs-vs-cats.")):
        with pytest.raises(PawflowError, match=message) as raised:
            download(request_for(root), tmp_path)
        assert "https://www.kaggle.com/competitions/dogs-vs-cats/data" in str(raised.value)
        assert "sources.root=DIR" in str(raised.value)
