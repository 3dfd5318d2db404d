"""Photos that people say were misjudged."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from serving.gateway.sources import FolderSource
from tests.serving.gateway.conftest import StartGateway
from tests.serving.http import draw

BRIGHT = draw(255)


def test_a_flagged_photo_is_kept_as_it_came_with_what_was_said(
    start_gateway: StartGateway, two_models: FolderSource, tmp_path: Path
) -> None:
    client = start_gateway(two_models, flagged=tmp_path / "flagged")
    kept = client.post("/flag", files={"image": BRIGHT}, data={"label": "cat", "consent": "yes", "version": "champion"})
    digest = hashlib.sha256(BRIGHT).hexdigest()
    assert (kept.status_code, kept.json()) == (201, {"sha256": digest})
    assert sorted(path.name for path in (tmp_path / "flagged").iterdir()) == [f"{digest}.json", f"{digest}.png"]
    assert (tmp_path / "flagged" / f"{digest}.png").read_bytes() == BRIGHT
    note = json.loads((tmp_path / "flagged" / f"{digest}.json").read_text())
    assert (note["photo"], note["label"], note["model"], note["consent"]) == (f"{digest}.png", "cat", "bright", True)
    assert (note["answer"]["label"], note["answer"]["model_version"]) == ("dog", two_models.read_aliases()["champion"])
    client.post("/flag", files={"image": BRIGHT}, data={"consent": "yes"})
    assert json.loads((tmp_path / "flagged" / f"{digest}.json").read_text())["label"] is None


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


def test_a_server_without_a_folder_keeps_nothing(start_gateway: StartGateway, two_models: FolderSource) -> None:
    client = start_gateway(two_models)
    assert client.post("/flag", files={"image": BRIGHT}, data={"consent": "yes"}).status_code == 403
    assert client.get("/models").json()["flagging"] is False
