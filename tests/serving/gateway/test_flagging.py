"""Photos that people say were misjudged."""

from __future__ import annotations

import csv
import hashlib
from pathlib import Path

import pytest

from components.common.dataset import SPLITS, Dataset
from components.download.run import run as download
from components.fuse.run import run as fuse
from serving.gateway.sources import FolderSource
from tests.serving.gateway.conftest import StartGateway
from tests.serving.http import draw

BRIGHT = draw(255)


def read_rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "labels.csv").open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def test_a_flagged_photo_is_kept_as_it_came_with_what_was_said(
    start_gateway: StartGateway, two_models: FolderSource, tmp_path: Path
) -> None:
    client = start_gateway(two_models, flagged=tmp_path / "flagged")
    kept = client.post("/flag", files={"image": BRIGHT}, data={"label": "cat", "consent": "yes", "version": "champion"})
    digest = hashlib.sha256(BRIGHT).hexdigest()
    assert (kept.status_code, kept.json()) == (201, {"sha256": digest})
    assert sorted(path.name for path in (tmp_path / "flagged").iterdir()) == [f"{digest}.png", "labels.csv"]
    assert (tmp_path / "flagged" / f"{digest}.png").read_bytes() == BRIGHT
    (row,) = read_rows(tmp_path / "flagged")
    assert (row["path"], row["label"], row["model"], row["consent"]) == (f"{digest}.png", "cat", "bright", "yes")
    assert (row["said"], row["probability"], row["version"]) == ("dog", "0.9820", two_models.read_aliases()["champion"])
    client.post("/flag", files={"image": BRIGHT}, data={"consent": "yes"})
    assert [row["label"] for row in read_rows(tmp_path / "flagged")] == [""]


def test_what_people_write_into_the_table_stays(start_gateway: StartGateway, two_models: FolderSource, tmp_path: Path) -> None:
    client, table = start_gateway(two_models, flagged=tmp_path / "flagged"), tmp_path / "flagged" / "labels.csv"
    client.post("/flag", files={"image": BRIGHT}, data={"label": "cat", "consent": "yes"})
    (row,) = read_rows(table.parent)
    table.write_text("\ufeffpath,label,group\r\n" + f"{row['path']},dog,sofa\r\n", encoding="utf-8")
    client.post("/flag", files={"image": draw(0)}, data={"label": "dog", "consent": "yes"})
    first, second = read_rows(table.parent)
    assert (first["path"], first["label"], first["group"]) == (row["path"], "dog", "sofa")
    assert (second["label"], second["group"]) == ("dog", "")


@pytest.mark.parametrize(
    "saved",
    [
        "path;label;model\r\n{path};dog;bright\r\n".encode("utf-8-sig"),
        "path,label,group\r\n{path},dog,Käthes Sofa\r\n".encode("latin-1"),
        b"",
    ],
    ids=["semicolons", "Latin-1", "empty"],
)
def test_a_table_that_cannot_be_read_is_set_apart_untouched(
    start_gateway: StartGateway, two_models: FolderSource, tmp_path: Path, saved: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    client, table = start_gateway(two_models, flagged=tmp_path / "flagged", max_flagged=2), tmp_path / "flagged" / "labels.csv"
    client.post("/flag", files={"image": BRIGHT}, data={"label": "cat", "consent": "yes"})
    saved = saved.replace(b"{path}", read_rows(table.parent)[0]["path"].encode())
    table.write_bytes(saved)
    assert client.post("/flag", files={"image": draw(0)}, data={"label": "dog", "consent": "yes"}).status_code == 201
    (apart,) = table.parent.glob("labels.csv.unreadable-*")
    assert apart.read_bytes() == saved
    assert [row["label"] for row in read_rows(table.parent)] == ["dog"]
    assert apart.name in caplog.text


@pytest.mark.parametrize(
    ("files", "fields", "message"),
    [
        ({"image": BRIGHT}, {"label": "cat"}, "expected the field consent=yes"),
        ({"image": BRIGHT}, {"label": "../../cat", "consent": "yes"}, "expected one of cat, dog"),
        ({"image": b"camera shy"}, {"label": "cat", "consent": "yes"}, "not an image"),
        ({"image": ("a", b"")}, {"consent": "yes"}, "empty"),
    ],
)
def test_nothing_is_kept_of_what_is_wrong(
    start_gateway: StartGateway,
    two_models: FolderSource,
    tmp_path: Path,
    files: dict[str, bytes],
    fields: dict[str, str],
    message: str,
) -> None:
    refused = start_gateway(two_models, flagged=tmp_path / "flagged").post("/flag", files=files, data=fields)
    assert refused.status_code == 400
    assert message in refused.json()["message"]
    assert not (tmp_path / "flagged").exists()


def test_the_folder_is_bounded(start_gateway: StartGateway, two_models: FolderSource, tmp_path: Path) -> None:
    client = start_gateway(two_models, flagged=tmp_path / "flagged", max_flagged=2)
    statuses = [client.post("/flag", files={"image": draw(level)}, data={"consent": "yes"}).status_code for level in (1, 2, 3, 2)]
    assert statuses == [201, 201, 507, 201]


def test_the_bytes_are_bounded_too(start_gateway: StartGateway, two_models: FolderSource, tmp_path: Path) -> None:
    photos = [draw(level) for level in (1, 2)]
    client = start_gateway(two_models, flagged=tmp_path / "flagged", max_flagged_bytes=len(photos[0]) + len(photos[1]) - 1)
    answers = [client.post("/flag", files={"image": photo}, data={"consent": "yes"}) for photo in photos]
    assert [answer.status_code for answer in answers] == [201, 507]
    assert "nothing was stored" in answers[1].json()["message"]
    assert len(read_rows(tmp_path / "flagged")) == 1


def test_a_flagged_photo_is_in_the_next_dataset_with_its_label(
    start_gateway: StartGateway, two_models: FolderSource, tmp_path: Path
) -> None:
    """From the page's button to the manifest: the folder is a source beside another one, and fuse knows the photo by its content."""
    client = start_gateway(two_models, flagged=tmp_path / "flagged")
    digest = client.post("/flag", files={"image": ("../../evil.php", BRIGHT)}, data={"label": "cat", "consent": "yes"}).json()["sha256"]
    unknown = client.post("/flag", files={"image": draw(9)}, data={"consent": "yes"}).json()["sha256"]
    recipe = f"""
        name: tiny
        model: tiny
        image_size: 32
        sources:
          archives:
            - {{name: dogs-vs-cats, provider: sample, layout: dogs_vs_cats, num_images: 60}}
            - {{name: flagged, provider: folder, layout: csv, path: {tmp_path}/flagged}}
        candidates: [{{name: cnn, architecture: simple_cnn, mode: scratch}}]
    """
    for source in ("dogs-vs-cats", "flagged"):
        download(recipe=recipe, source=source, out=tmp_path / "raw" / source)
    fuse(recipe=recipe, raw=[tmp_path / "raw" / "dogs-vs-cats", tmp_path / "raw" / "flagged"], out=tmp_path / "dataset")
    rows = Dataset(tmp_path / "dataset").manifest.query("source == 'flagged'").set_index("sha256")
    assert set(rows.index) == {digest, unknown}
    assert (rows.at[digest, "label"], rows.at[digest, "status"]) == ("cat", "used")
    assert rows.at[digest, "split"] in SPLITS
    assert rows.at[unknown, "status"] == "unlabelled"


def test_a_server_without_a_folder_keeps_nothing(start_gateway: StartGateway, two_models: FolderSource) -> None:
    client = start_gateway(two_models)
    assert client.post("/flag", files={"image": BRIGHT}, data={"consent": "yes"}).status_code == 403
    assert client.get("/models").json()["flagging"] is False
