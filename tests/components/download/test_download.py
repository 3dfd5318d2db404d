from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from components.common.errors import PawflowError
from components.common.recipe import Place, Source
from components.common.store import hash_file
from components.download.download import check, download, identify
from components.download.sources import PROVIDERS, Request
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


@pytest.mark.parametrize(
    ("provider", "field", "value", "takers"),
    [
        ("kaggle", "sha256", "0" * 64, "local, http, s3"),
        ("petimages", "sha256", "0" * 64, "local, http, s3"),
        ("cifar10", "url", "https://example.org/a.zip", "http, s3"),
        ("sample", "path", Path("photos"), "folder"),
        ("local", "endpoint", "https://example.org", "s3"),
        ("folder", "competition", "dogs", "kaggle"),
        ("kaggle", "num_images", 100, "sample"),
    ],
)
def test_a_field_that_a_provider_does_not_take_is_refused(provider: str, field: str, value: object, takers: str) -> None:
    needed = {"path": Path("photos")} if provider == "folder" else {}
    place = Place.model_validate({"provider": provider, field: value, **needed})
    message = f"source 'pets': {field} is {value}, but does nothing with the provider '{provider}'; .* takes it: {takers}$"
    # Whichever place it is.
    for source in (Source(name="pets", **dict(place)), Source(name="pets", provider="sample", fallbacks=(place,))):
        with pytest.raises(PawflowError, match=message):
            check(Request(source, None, seed=0))


def test_each_field_of_a_place_is_of_use_to_some_provider() -> None:
    taken = {field for provider in PROVIDERS.values() for field in provider.needs + provider.takes}
    assert taken == Place.model_fields.keys() - {"provider"}


def test_an_archive_of_the_users_own_is_compared_with_the_checksum(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Also where the recipe names another place, whose other fields do not matter then."""
    source = Source(name="dogs-vs-cats", provider="http", url="https://example.org/a.zip", sha256=hash_file(root / "dogs-vs-cats.zip"))
    request = Request(source, root, seed=0)
    check(request)
    assert identify(request) == [{"provider": "local", "sha256": source.sha256}]
    with pytest.raises(PawflowError, match=r"dogs-vs-cats.zip has the SHA-256 .*, and the recipe expects 0000"):
        identify(replace(request, source=source.model_copy(update={"sha256": "0" * 64})))
    (root / "dogs-vs-cats.zip").unlink()
    (root / "dogs-vs-cats").mkdir()
    (root / "dogs-vs-cats" / "cat.jpg").write_bytes(b"photo")
    identify(request)
    assert "is a folder, not an archive, so the sha256 of the recipe is not compared" in capsys.readouterr().out


def test_a_missing_archive_says_where_to_get_it(tmp_path: Path) -> None:
    for root, message in ((None, "the recipe names no folder"), (tmp_path, "does not hold the archive of source .dogs-vs-cats.")):
        with pytest.raises(PawflowError, match=message) as raised:
            download(request_for(root), tmp_path)
        assert "https://www.kaggle.com/competitions/dogs-vs-cats/data" in str(raised.value)
        assert "sources.root=DIR" in str(raised.value)
