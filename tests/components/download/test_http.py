"""Downloads from a real server that cuts connections, forgets, changes its mind and dies."""

from __future__ import annotations

import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from components.common.errors import PawflowError
from components.common.recipe import Place, Source
from components.common.store import home
from components.download import fetching
from components.download.download import download, identify
from components.download.sources import PROVIDERS, Provider, Request, cifar10, petimages
from components.download.sources.http import PublishedArchive
from tests.components.download.http_server import Server, serving


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(fetching, "FIRST_WAIT", 0.01)
    with serving() as running:
        running.files["/photos.zip"] = make_zip(2_000_000)
        yield running


def make_zip(num_bytes: int, seed: int = 0) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr(zipfile.ZipInfo("cat/1.jpg"), np.random.default_rng(seed).bytes(num_bytes))
    return stream.getvalue()


def request_for(server: Server, content: bytes | None = None, **fields: Any) -> Request:
    sha256 = hashlib.sha256(content or server.files["/photos.zip"]).hexdigest()
    values = {"name": "photos", "provider": "http", "url": f"{server.url}/photos.zip", "sha256": sha256, **fields}
    source = Source.model_validate(values)
    return Request(source, None, seed=0)


def fetch(request: Request, out: Path) -> dict[str, object]:
    out.mkdir()
    download(request, out)
    details: dict[str, object] = json.loads((out / "source.json").read_text())
    return details


@pytest.mark.parametrize("versions", [True, False])
def test_a_download_that_is_cut_off_again_and_again_arrives(server: Server, tmp_path: Path, versions: bool) -> None:
    server.cuts, server.versions = 12, versions
    details = fetch(request_for(server), tmp_path / "out")
    assert (tmp_path / "out" / "photos.zip").read_bytes() == server.files["/photos.zip"]
    assert details["origin"] == f"{server.url}/photos.zip"
    assert server.asked[0] == ""
    assert all(asked.startswith("bytes=") for asked in server.asked[1:])
    assert server.num_bytes == len(server.files["/photos.zip"]), "no byte was sent twice"


def test_a_server_without_ranges_is_read_from_the_start_again(server: Server, tmp_path: Path) -> None:
    server.cuts, server.ranges = 3, False
    fetch(request_for(server), tmp_path / "out")
    assert (tmp_path / "out" / "photos.zip").read_bytes() == server.files["/photos.zip"]


def test_a_file_that_changes_halfway_is_read_from_the_start_again(server: Server, tmp_path: Path) -> None:
    new = make_zip(2_000_000, seed=1)
    request = request_for(server, new)
    part = tmp_path / "x.part"
    part.write_bytes(server.files["/photos.zip"][:1_000_000])
    part.with_name("x.part.version").write_text(json.dumps({"version": '"older"'}))
    server.files["/photos.zip"] = new
    fetching.fetch_url(str(request.source.url), str(request.source.sha256), part, "photos")
    assert part.read_bytes() == new
    assert server.num_bytes == len(new)


def test_pieces_that_do_not_fit_are_thrown_away(server: Server, tmp_path: Path) -> None:
    server.versions = False
    part = tmp_path / "x.part"
    part.write_bytes(b"of another file")
    sha256 = hashlib.sha256(server.files["/photos.zip"]).hexdigest()
    fetching.fetch_url(f"{server.url}/photos.zip", sha256, part, "photos")
    assert part.read_bytes() == server.files["/photos.zip"]
    assert server.asked == ["bytes=15-", ""]
    # All of it is here, but the process was killed before it could say so.
    fetching.fetch_url(f"{server.url}/photos.zip", sha256, part, "photos")
    assert part.read_bytes() == server.files["/photos.zip"]


def test_a_busy_server_is_asked_again(server: Server, tmp_path: Path) -> None:
    server.statuses = [503, 429, 500]
    fetch(request_for(server), tmp_path / "out")
    assert len(server.asked) == 4


def test_what_cannot_be_fetched_is_said_in_words(server: Server, deserted_address: str, tmp_path: Path) -> None:
    server.files["/page.zip"] = b"<html>sign in</html>"
    page = hashlib.sha256(server.files["/page.zip"]).hexdigest()
    cases: list[tuple[dict[str, Any], str]] = [
        ({"url": f"{server.url}/none.zip"}, "answers 404 Not Found; check the address"),
        ({"sha256": "0" * 64}, "serves another file than the recipe names: 2,000,.* expected 0000"),
        ({"url": f"{server.url}/page.zip", "sha256": page}, "not a readable zip or tar archive"),
        ({"url": "ftp://127.0.0.1/photos.zip"}, "cannot be fetched: No connection adapters"),
        ({"url": f"{deserted_address}/photos.zip"}, "cannot be fetched: .*Check the address and the connection"),
    ]
    for number, (fields, message) in enumerate(cases):
        with pytest.raises(PawflowError, match=message):
            fetch(request_for(server, **fields), tmp_path / str(number))


def test_a_server_that_stays_down_is_given_up_and_what_came_is_kept(server: Server, tmp_path: Path) -> None:
    server.cuts, server.statuses = 1, [200, *[503] * fetching.MAX_STALLS]
    with pytest.raises(PawflowError, match="bytes that came are kept"):
        fetch(request_for(server), tmp_path / "first")
    before = server.num_bytes
    fetch(request_for(server), tmp_path / "second")
    assert server.num_bytes == len(server.files["/photos.zip"])
    assert 0 < before < server.num_bytes


def test_an_archive_is_fetched_once_and_checked_each_time(server: Server, tmp_path: Path) -> None:
    fetch(request_for(server), tmp_path / "first")
    fetch(request_for(server), tmp_path / "second")
    assert len(server.asked) == 1
    (kept,) = [path for path in (home() / "cache" / "archives").iterdir() if not path.suffix]
    (tmp_path / "first" / "photos.zip").unlink()
    kept.write_bytes(kept.read_bytes()[:-1] + b"x")
    fetch(request_for(server), tmp_path / "third")
    assert len(server.asked) == 2
    assert (tmp_path / "third" / "photos.zip").read_bytes() == server.files["/photos.zip"]


def test_the_next_place_serves_what_the_first_does_not(server: Server, tmp_path: Path) -> None:
    sha256 = hashlib.sha256(server.files["/photos.zip"]).hexdigest()
    request = request_for(
        server,
        provider="local",
        url=None,
        fallbacks=(
            Place(provider="http", url=f"{server.url}/gone.zip", sha256=sha256),
            Place(provider="http", url=f"{server.url}/photos.zip", sha256=sha256),
        ),
    )
    assert identify(request) == [{"provider": "local", "available": False}, *[{"provider": "http", "sha256": sha256}] * 2]
    details = fetch(request, tmp_path / "out")
    assert (details["provider"], details["origin"]) == ("http", f"{server.url}/photos.zip")
    tried = details["tried_before"]
    assert isinstance(tried, list)
    assert [attempt["provider"] for attempt in tried] == ["local", "http"]
    assert "names no folder" in tried[0]["reason"]
    assert "404" in tried[1]["reason"]


def test_all_reasons_are_given_when_no_place_serves(server: Server, tmp_path: Path) -> None:
    request = request_for(server, url=f"{server.url}/gone.zip", fallbacks=(Place(provider="local"),))
    with pytest.raises(PawflowError, match=r"(?s)no place of the recipe serves.*- http: .*404.*- local: .*sources\.root"):
        fetch(request, tmp_path / "out")


@pytest.mark.parametrize(("name", "archive"), [("petimages", petimages.ARCHIVE), ("cifar10", cifar10.ARCHIVE)])
def test_known_archives_are_fetched_from_their_publisher(
    name: str, archive: PublishedArchive, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = Request(Source(name=name, provider=name), None, seed=0)
    assert archive.url.startswith("https://")
    assert PROVIDERS[name].identify(request) == {"sha256": archive.sha256}
    here = replace(archive, url=f"{server.url}/photos.zip", sha256=hashlib.sha256(server.files["/photos.zip"]).hexdigest())
    monkeypatch.setitem(PROVIDERS, name, Provider(here.identify, here.fetch))
    details = fetch(request, tmp_path / "out")
    assert (details["file"], details["terms"]) == (f"{name}.zip", archive.terms)


SCRIPT = """
import sys
from pathlib import Path
from components.common.recipe import load_recipe
from components.download.download import download, identify
from components.common.store import produce
from components.download.sources import Request
request = Request(load_recipe(sys.argv[1]).sources.archives[0], None, 0)
print(produce("download", {"identity": identify(request)}, lambda folder: download(request, folder))[1])
"""


def start_download(request: Request, code: str = SCRIPT) -> subprocess.Popen[str]:
    recipe = f"name: x\nsources: {{archives: [{request.source.model_dump_json(exclude_none=True)}]}}"
    path = os.pathsep.join([str(Path(__file__).parents[3]), *sys.path])
    environment = {**os.environ, "PYTHONPATH": path}
    return subprocess.Popen([sys.executable, "-c", code, recipe], env=environment, stdout=subprocess.PIPE, text=True)


def test_a_killed_download_goes_on_where_it_was(server: Server) -> None:
    server.files["/photos.zip"] = make_zip(6_000_000)
    server.pause = 0.05
    process = start_download(request_for(server))
    while server.num_bytes < 2_000_000:
        assert process.poll() is None
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    server.pause = 0.0
    time.sleep(0.1)
    again = start_download(request_for(server))
    assert again.communicate(timeout=60)[0].splitlines()[-1] == "False"
    first, second = server.asked
    assert first == ""
    assert int(second.removeprefix("bytes=").rstrip("-")) >= 1_000_000


def test_two_processes_with_one_cache_fetch_once(server: Server) -> None:
    server.pause = 0.02
    processes = [start_download(request_for(server)) for _ in range(2)]
    reused = sorted(process.communicate(timeout=60)[0].splitlines()[-1] for process in processes)
    assert reused == ["False", "True"]
    assert server.num_bytes == len(server.files["/photos.zip"])
