"""Prefixes and archives in a real S3 server."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from components.common.errors import PawflowError
from components.common.recipe import Source
from components.common.store import home
from components.download.download import download, identify
from components.download.sources import Request, s3
from components.fuse.layouts import read_entries
from tests.components.download.s3_server import S3Server, serving_s3, use
from tests.components.download.test_http import make_zip


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with serving_s3(tmp_path_factory.mktemp("s3")) as server:
        for key in ("pets/cat/1.jpg", "pets/dog/2.jpg", "pets/dog/3.jpg", "pets2/cat/9.jpg", "pets.txt"):
            server.client.put_object(Bucket="photos", Key=key, Body=key.encode())
        for number in range(1100):
            server.client.put_object(Bucket="photos", Key=f"many/{'cat' if number % 2 else 'dog'}/{number}.jpg", Body=b"%d" % number)
        server.client.put_object(Bucket="photos", Key="archives/photos.zip", Body=make_zip(20_000_000))
        server.client.put_object(Bucket="photos", Key="archives/page.zip", Body=b"<html>sign in</html>")
        yield server


@pytest.fixture
def server(running: S3Server, monkeypatch: pytest.MonkeyPatch) -> S3Server:
    use(running, monkeypatch)
    return running


def request_for(url: str, **fields: Any) -> Request:
    return Request(Source.model_validate({"name": "photos", "provider": "s3", "url": url, **fields}), None, seed=0)


def fetch(request: Request, out: Path) -> dict[str, Any]:
    out.mkdir()
    download(request, out)
    details: dict[str, Any] = json.loads((out / "source.json").read_text())
    return details


@pytest.mark.parametrize("url", ["s3://photos/pets", "s3://photos/pets/"])
def test_a_prefix_is_a_folder_and_not_the_start_of_a_name(url: str, server: S3Server, tmp_path: Path) -> None:
    details = fetch(request_for(url), tmp_path / "out")
    found = {entry.path: (entry.label, entry.data) for entry in read_entries("class_folders", tmp_path / "out" / details["file"])}
    assert found == {
        "cat/1.jpg": ("cat", b"pets/cat/1.jpg"),
        "dog/2.jpg": ("dog", b"pets/dog/2.jpg"),
        "dog/3.jpg": ("dog", b"pets/dog/3.jpg"),
    }


def test_more_objects_than_one_answer_lists_and_equal_bytes_each_time(server: S3Server, tmp_path: Path) -> None:
    first = fetch(request_for("s3://photos/many/"), tmp_path / "first")
    with zipfile.ZipFile(tmp_path / "first" / "photos.zip") as archive:
        assert len(archive.namelist()) == 1100
        assert archive.read("cat/777.jpg") == b"777"
    (home() / "cache").rename(tmp_path / "gone")
    assert fetch(request_for("s3://photos/many/"), tmp_path / "second")["sha256"] == first["sha256"]


def test_an_archive_comes_in_pieces_and_only_missing_ones_come_again(
    server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3, "PIECE", 1 << 20)
    request = request_for("s3://photos/archives/photos.zip", sha256=hashlib.sha256(make_zip(20_000_000)).hexdigest())
    in_parallel = s3._in_parallel

    def die_after_five(jobs: Any) -> Iterator[Any]:
        yield from (result for _, result in zip(range(5), in_parallel(jobs), strict=False))
        raise KeyboardInterrupt

    monkeypatch.setattr(s3, "_in_parallel", die_after_five)
    with pytest.raises(KeyboardInterrupt):
        fetch(request, tmp_path / "first")
    (record,) = (home() / "cache" / "archives").glob("*.done")
    done = set(record.read_text().split())
    assert len(done) == 5
    fetched = []

    def count(jobs: Any) -> Iterator[Any]:
        for number, num_bytes in in_parallel(jobs):
            fetched.append(str(number))
            yield number, num_bytes

    monkeypatch.setattr(s3, "_in_parallel", count)
    details = fetch(request, tmp_path / "second")
    assert (tmp_path / "second" / "photos.zip").read_bytes() == make_zip(20_000_000)
    assert len(fetched) == 20 - 5
    assert done.isdisjoint(fetched)
    assert details["origin"] == "s3://photos/archives/photos.zip"
    assert not list((home() / "cache" / "archives").glob("*.part*"))


def test_new_content_has_a_new_identity(server: S3Server) -> None:
    request = request_for("s3://photos/changing/")
    server.client.put_object(Bucket="photos", Key="changing/cat/1.jpg", Body=b"one")
    first = identify(request)
    assert identify(request) == first
    server.client.put_object(Bucket="photos", Key="changing/cat/1.jpg", Body=b"two")
    assert identify(request) != first


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("s3://photos/nothing", r"no object under s3://photos/nothing/; correct the url"),
        ("s3://photos/none.zip", "there is no such object"),
        ("s3://nobucket/pets/", "NoSuchBucket.*there is no such bucket"),
        ("https://photos/pets", "expected s3://bucket/archive.zip or s3://bucket/prefix/"),
        ("s3://photos/archives/page.zip", "not a readable zip or tar archive"),
    ],
)
def test_what_is_not_there_is_said_in_words(url: str, message: str, server: S3Server, tmp_path: Path) -> None:
    with pytest.raises(PawflowError, match=message):
        fetch(request_for(url), tmp_path / "out")


def test_a_prefix_with_a_checksum_is_refused(server: S3Server) -> None:
    with pytest.raises(PawflowError, match="s3://photos/pets/ is a prefix, which has none"):
        identify(request_for("s3://photos/pets/", sha256="0" * 64))


def test_a_wrong_checksum_is_reported(server: S3Server, tmp_path: Path) -> None:
    with pytest.raises(PawflowError, match="does not have the SHA-256 of the recipe"):
        fetch(request_for("s3://photos/archives/photos.zip", sha256="0" * 64), tmp_path / "out")


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("AWS_SECRET_ACCESS_KEY", "wrong", "SignatureDoesNotMatch.*secret key is wrong|403.*do not allow"),
        ("AWS_ACCESS_KEY_ID", "nobody", "does not know the access key|403.*do not allow"),
    ],
)
def test_wrong_keys_are_told_apart(
    variable: str, value: str, message: str, server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(PawflowError, match=message):
        fetch(request_for("s3://photos/pets"), tmp_path / "out")


def test_an_address_where_nobody_is_does_not_answer(
    server: S3Server, deserted_address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", deserted_address)
    with pytest.raises(PawflowError, match="does not answer .*check the endpoint"):
        fetch(request_for("s3://photos/pets"), tmp_path / "out")


def test_the_endpoint_can_stand_in_the_recipe(server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ENDPOINT_URL_S3")
    fetch(request_for("s3://photos/pets", endpoint=server.endpoint), tmp_path / "out")


def test_missing_keys_are_named(server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(variable)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    with pytest.raises(PawflowError, match="set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"):
        fetch(request_for("s3://photos/pets"), tmp_path / "out")


def test_a_large_object_under_a_prefix_is_whole(server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3, "PIECE", 6 << 20)
    server.client.put_object(Bucket="photos", Key="large/cat/1.jpg", Body=make_zip(20_000_000))
    fetch(request_for("s3://photos/large"), tmp_path / "out")
    with zipfile.ZipFile(tmp_path / "out" / "photos.zip") as archive:
        assert archive.read("cat/1.jpg") == make_zip(20_000_000)


def test_bytes_survive_a_large_object(server: S3Server, tmp_path: Path) -> None:
    fetch(request_for("s3://photos/archives/photos.zip"), tmp_path / "out")
    with zipfile.ZipFile(tmp_path / "out" / "photos.zip") as archive:
        assert archive.read("cat/1.jpg") == np.random.default_rng(0).bytes(20_000_000)
