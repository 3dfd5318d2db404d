"""Kaggle's own client against a server that answers as Kaggle does: the only place where the other side is played."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from kagglesdk import kaggle_env

from components.common import progress
from components.common.errors import PawflowError
from components.common.recipe import Source, parse_recipe
from components.download.download import download, identify
from components.download.sources import Request
from components.fuse.layouts import read_entries
from pipeline.doctor import examine
from tests.components.download.http_server import Server, serving


def make_bundle() -> bytes:
    """What Kaggle sends: one zip file around the files of the competition."""
    inner, outer = io.BytesIO(), io.BytesIO()
    with zipfile.ZipFile(inner, "w") as train:
        train.writestr("train/cat.0.jpg", np.random.default_rng(0).bytes(3_000_000))
        train.writestr("train/dog.0.jpg", b"dog")
    with zipfile.ZipFile(outer, "w") as bundle:
        bundle.writestr("train.zip", inner.getvalue())
        bundle.writestr("sampleSubmission.csv", "id,label\n")
    return outer.getvalue()


@pytest.fixture
def kaggle(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Server]:
    monkeypatch.setenv("KAGGLE_API_ENVIRONMENT", "LOCALHOST")
    monkeypatch.setenv("KAGGLE_API_TOKEN", "a-token")
    monkeypatch.setenv("KAGGLEHUB_CACHE", str(tmp_path / "kagglehub"))
    monkeypatch.setenv("KAGGLE_CONFIG_DIR", str(tmp_path / "none"))
    monkeypatch.setenv("HOME", str(tmp_path))
    for variable in ("KAGGLE_USERNAME", "KAGGLE_KEY", "KAGGLE_KERNEL_RUN_TYPE"):
        monkeypatch.delenv(variable, raising=False)
    with serving() as server:
        monkeypatch.setitem(kaggle_env._env_to_endpoint, kaggle_env.KaggleEnv.LOCAL, server.url)
        server.files["/archive.zip"] = make_bundle()
        yield server


def request_for(name: str = "dogs-vs-cats", **fields: str) -> Request:
    return Request(Source.model_validate({"name": name, "provider": "kaggle", "layout": "dogs_vs_cats", **fields}), None, seed=0)


def test_a_competition_becomes_the_archive_that_people_know(
    kaggle: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "_INTERVAL", 0.0)
    (tmp_path / "out").mkdir()
    kaggle.cuts = 2
    download(request_for(), tmp_path / "out")
    details = json.loads((tmp_path / "out" / "source.json").read_text())
    assert details["origin"] == "https://www.kaggle.com/competitions/dogs-vs-cats/data"
    assert details["provider"] == "kaggle"
    found = {entry.path: entry.label for entry in read_entries("dogs_vs_cats", tmp_path / "out" / details["file"])}
    assert found == {"train.zip/train/cat.0.jpg": "cat", "train.zip/train/dog.0.jpg": "dog", "sampleSubmission.csv": None}
    assert any(asked.startswith("bytes=") for asked in kaggle.asked), "the client resumes"
    assert "MB/s" in capsys.readouterr().out, "its progress bar is shown"
    num_requests = len(kaggle.asked)
    (tmp_path / "again").mkdir()
    download(request_for(), tmp_path / "again")
    assert len(kaggle.asked) == num_requests
    assert not list((tmp_path / "kagglehub").rglob("train.zip")), "the archive is not kept twice"


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (401, ("does not accept the token (401)", "https://www.kaggle.com/settings/api", "'Generate New Token'", "KAGGLE_API_TOKEN")),
        (
            403,
            (
                "rules have not been accepted",
                "https://www.kaggle.com/competitions/dogs-vs-cats/data",
                "'I Understand and Accept'",
                "bottom",
            ),
        ),
        (404, ("has no competition 'dogs-vs-cats'", "recipe")),
        (429, ("asks to wait",)),
        (500, ("answers with an error", "run again later")),
    ],
)
def test_a_refusal_says_which_page_to_open_and_what_to_click(
    status: int, expected: tuple[str, ...], kaggle: Server, tmp_path: Path
) -> None:
    kaggle.statuses = [status]
    with pytest.raises(PawflowError) as raised:
        download(request_for(), tmp_path)
    assert all(words in str(raised.value) for words in (*expected, "sources.root=DIR"))


def test_a_missing_token_says_where_to_make_one(kaggle: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KAGGLE_API_TOKEN")
    with pytest.raises(PawflowError, match=r"no token was found.*https://www\.kaggle\.com/settings/api.*'Generate New Token'"):
        download(request_for(), tmp_path)
    assert kaggle.asked == []


@pytest.mark.parametrize(
    ("statuses", "level", "text"),
    [
        ([], "ok", "the competition dogs-vs-cats"),
        ([401], "failed", "does not accept the token (401)"),
        ([403], "failed", "its rules have not been accepted"),
    ],
)
def test_the_doctor_asks_kaggle_before_a_run_does(statuses: list[int], level: str, text: str, kaggle: Server) -> None:
    kaggle.statuses = statuses
    recipe = parse_recipe("name: x\nsources: {archives: [{name: dogs-vs-cats, provider: kaggle, layout: dogs_vs_cats}]}\n")
    (finding,) = [finding for finding in examine(recipe, "cluster") if finding.subject == "source dogs-vs-cats"]
    assert finding.level == level
    assert text in finding.text


def test_a_source_may_have_another_name_than_the_competition() -> None:
    assert identify(request_for("pets", competition="dogs-vs-cats"))[0]["competition"] == "dogs-vs-cats"
