from __future__ import annotations

import html
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest

from components.common.album import Album
from components.common.dataset import EXHIBITS, Dataset
from components.common.errors import PawflowError
from components.fuse.evidence import NEAR_DUPLICATES, PLACEMENT
from components.fuse.report import PAGE, write_page
from components.fuse.report.counts import MEANING, group_left_out
from components.fuse.report.figures import measure_sizes
from tests.components.fuse.conftest import HOSTILE, PREFIX


class Reader(HTMLParser):
    """What a browser would make of a page: its elements, and the addresses that it would fetch."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: dict[str, int] = {}
        self.addresses: list[str] = []
        self.handlers: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements[tag] = self.elements.get(tag, 0) + 1
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href")]
        self.handlers += [name for name, _ in attrs if name.startswith("on")]


@pytest.fixture(scope="module")
def page(told: Dataset) -> str:
    return (told.folder / PAGE).read_text()


def test_the_page_needs_nothing_else_and_runs_nothing(page: str) -> None:
    read = Reader(page)
    assert "script" not in read.elements
    assert "link" not in read.elements
    assert not read.handlers
    assert all(address.startswith(("data:image/webp;base64,", "#")) for address in read.addresses)
    anchors = {address for address in read.addresses if address.startswith("#")}
    assert all(f'id="{anchor[1:]}"' in page for anchor in anchors)
    assert "http" not in page
    assert "url(" not in page


def test_names_from_strangers_are_text(page: str) -> None:
    read = Reader(page)
    assert html.escape(HOSTILE) in page
    assert HOSTILE not in page
    assert read.elements["img"] == sum(address.startswith("data:") for address in read.addresses)


def test_the_page_tells_what_happened(told: Dataset, page: str) -> None:
    counts = told.manifest["status"].value_counts()
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]*>", "", page))
    assert set(counts.index) >= {"used", "rejected", "conflict", "duplicate", "unreadable", "dropped", "unlabelled", "set_aside"}
    for status, meaning in MEANING.items():
        assert (f"{counts.get(status)} {status.replace('_', ' ')} {meaning}" in text) == (status in counts)
    assert told.digest in text
    assert "decided: a text &amp; no animal" in text
    assert "relabel from dog: it is a cat" in text
    assert "3 votes against" in text
    assert f"also {PREFIX}dog.900.jpg" in text
    assert "the file is empty (0 bytes)" in text


def test_the_page_depends_on_the_dataset_alone(told: Dataset, page: str, tmp_path: Path) -> None:
    write_page(Dataset(told.folder), tmp_path / "again.html")
    assert (tmp_path / "again.html").read_text() == page


def test_images_that_are_in_no_shard_have_pictures(told: Dataset) -> None:
    album = Album(told)
    rows = told.manifest[told.manifest["status"].isin(["rejected", "conflict", "dropped", "set_aside"])]
    assert all(card.picture for card in album.cards(rows["id"]))
    (empty,) = album.cards([f"{PREFIX}dog.903.jpg"])
    assert empty.picture is None


def test_reasons_that_differ_in_names_only_are_one(told: Dataset) -> None:
    groups = {group["status"]: group for group in group_left_out(told.manifest, Album(told))}
    (bridges,) = groups["rejected"]["reasons"]
    assert bridges["count"] == groups["rejected"]["count"] > 1
    assert bridges["text"] == "would bridge two splits: …"
    (empty,) = groups["unreadable"]["reasons"]
    assert empty["text"].startswith("the file is empty (0 bytes)")


@pytest.mark.parametrize("values", [[80, 80, 80], [32, 100, 6000], [1, 2, 3]])
def test_bars_stay_inside_their_axes(values: list[int]) -> None:
    manifest = pd.DataFrame({"source": ["a", "a", "b"], "width": values, "height": values, "bytes": values})
    for panel in measure_sizes(manifest):
        assert [row["source"] for row in panel["rows"]] == ["a", "b"]
        bars = [bar for row in panel["rows"] for bar in row["bars"]]
        assert all(0 <= bar["x"] < 1 and 0 < bar["height"] <= 1 for bar in bars)
        assert max(bar["height"] for bar in bars) == 1
        assert all(0 <= tick["x"] <= 1 for tick in panel["ticks"])


@pytest.mark.parametrize("name", [EXHIBITS, NEAR_DUPLICATES])
def test_a_dataset_of_an_earlier_version_is_explained(told: Dataset, tmp_path: Path, name: str) -> None:
    shutil.copytree(told.folder, tmp_path / "old")
    (tmp_path / "old" / name).unlink()
    with pytest.raises(PawflowError, match=f"holds no {name}, so an earlier version"):
        write_page(Dataset(tmp_path / "old"), tmp_path / PAGE)


def test_evidence_is_recorded(told: Dataset) -> None:
    pairs = pd.read_parquet(told.folder / NEAR_DUPLICATES)
    assert len(pairs) == told.report["near_duplicates"]["pairs"]  # type: ignore[index]
    assert pairs["bits"].between(0, 7).all()
    assert pairs["difference"].between(0, 0.15).all()
    placement = pd.read_parquet(told.folder / PLACEMENT).set_index("id")
    assert placement["key"].dropna().isin(["a", "b", "c", "d"]).all()
    assert not placement["earlier"].any()
    placed = told.manifest.dropna(subset=["split"]).set_index("id")["split"]
    pd.testing.assert_series_equal(placement.loc[placed.index, "split"], placed)
