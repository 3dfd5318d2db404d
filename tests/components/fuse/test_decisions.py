from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import yaml

from components.common.dataset import Dataset
from components.common.errors import PawflowError
from components.common.recipe import parse_recipe
from components.fuse.decisions import SUSPECTS, read_decisions
from components.fuse.fuse import Archive, fuse
from tests.components.fuse.drawing import encode, scene, write_dogs_vs_cats
from tests.conftest import RECIPE

PREFIX = "dogs-vs-cats/train.zip/train/"


@pytest.fixture
def files() -> dict[str, bytes]:
    files = {f"{'cat' if number % 2 else 'dog'}.{number}.jpg": encode(scene(number)) for number in range(120)}
    # The same bytes under both labels, and two of the known suspects.
    return files | {"cat.900.jpg": files["dog.0.jpg"], "cat.4085.jpg": encode(scene(4085)), "dog.5604.jpg": encode(scene(5604))}


@pytest.fixture
def archive(files: dict[str, bytes], tmp_path: Path) -> Archive:
    return write_dogs_vs_cats(tmp_path / "a.zip", files)


def decide(archive: Archive, folder: Path, entries: object) -> Dataset:
    (folder / "decisions.yaml").write_text(yaml.safe_dump(entries))
    recipe = parse_recipe(RECIPE, overrides=(f"decisions={folder / 'decisions.yaml'}",))
    out = folder / f"out-{len(list(folder.iterdir()))}"
    out.mkdir()
    fuse([archive], recipe, out)
    return Dataset(out)


def test_decisions_are_applied_before_duplicates_are_resolved(archive: Archive, tmp_path: Path) -> None:
    before = decide(archive, tmp_path, [])
    rows = before.manifest.set_index("id")
    assert rows.at[f"{PREFIX}dog.0.jpg", "status"] == "conflict"
    after = decide(
        archive,
        tmp_path,
        [
            {"id": f"{PREFIX}cat.900.jpg", "action": "relabel", "label": "dog", "why": "looked at it"},
            {"id": f"{PREFIX}cat.4085.jpg", "action": "relabel", "label": "dog", "why": "it is a dog"},
            {"sha256": rows.at[f"{PREFIX}dog.5604.jpg", "sha256"], "action": "drop", "why": "a text"},
            {"id": f"{PREFIX}dog.2.jpg", "action": "keep", "why": "fine"},
        ],
    )
    found = after.manifest.set_index("id")
    assert list(found[["status", "label"]].loc[f"{PREFIX}dog.0.jpg"]) == ["used", "dog"]
    assert found.at[f"{PREFIX}cat.900.jpg", "status"] == "duplicate"
    assert list(found[["status", "label", "reason"]].loc[f"{PREFIX}cat.4085.jpg"]) == ["used", "dog", "decided: it is a dog"]
    assert list(found[["status", "reason"]].loc[f"{PREFIX}dog.5604.jpg"]) == ["dropped", "decided: a text"]
    assert bool(found["split"].isna().loc[f"{PREFIX}dog.5604.jpg"])
    assert after.digest != before.digest
    assert after.report["decisions"] == {"keep": 1, "drop": 1, "relabel": 2}
    suspects = [{"id": f"{PREFIX}dog.5604.jpg", "votes": 5}, {"id": f"{PREFIX}cat.4085.jpg", "votes": 3}]
    for dataset, decided in ((before, False), (after, True)):
        images = [{**suspect, "decided": decided} for suspect in suspects]
        assert dataset.report["suspects"] == {"listed": 128, "present": 2, "undecided": 0 if decided else 2, "images": images}
    told = {image["id"].removeprefix(PREFIX): image for image in after.report["decided"]}  # type: ignore[attr-defined]
    assert told["dog.2.jpg"] == {"id": f"{PREFIX}dog.2.jpg", "action": "keep", "label_before": "dog", "label": "dog", "why": "fine"}
    assert [(told[name]["label_before"], told[name]["label"]) for name in ("cat.4085.jpg", "cat.900.jpg", "dog.0.jpg")] == [
        ("cat", "dog"),
        ("cat", "dog"),
        ("dog", "dog"),
    ]


def test_a_decision_on_an_image_is_one_on_its_copies(files: dict[str, bytes], tmp_path: Path) -> None:
    """`dog.0` and `cat.900` are the same bytes under two labels; here `cat.901` is made one more copy, of the second."""
    twice = write_dogs_vs_cats(tmp_path / "twice.zip", files | {"cat.901.jpg": files["cat.900.jpg"]})
    relabelled = decide(twice, tmp_path, [{"id": f"{PREFIX}cat.901.jpg", "action": "relabel", "label": "cat", "why": "it is"}])
    statuses = relabelled.manifest.set_index("id")["status"]
    assert sorted(statuses[[f"{PREFIX}{name}.jpg" for name in ("cat.900", "cat.901", "dog.0")]]) == ["duplicate", "duplicate", "used"]
    dropped = decide(twice, tmp_path, [{"id": f"{PREFIX}cat.901.jpg", "action": "drop", "why": "the other label is right"}])
    rows = dropped.manifest.set_index("id")
    assert list(rows.loc[[f"{PREFIX}{name}.jpg" for name in ("cat.900", "cat.901", "dog.0")], "status"]) == ["dropped", "dropped", "used"]


def test_decisions_that_change_nothing_are_counted(files: dict[str, bytes], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broken = write_dogs_vs_cats(tmp_path / "broken.zip", files | {"cat.902.jpg": b"no image"})
    decide(broken, tmp_path, [{"id": f"{PREFIX}cat.902.jpg", "action": "relabel", "label": "dog", "why": "it is one"}])
    assert "1 of 1 decisions change nothing: their images are not used" in capsys.readouterr().out


def test_suspects_are_not_acted_upon(archive: Archive, tmp_path: Path) -> None:
    rows = decide(archive, tmp_path, []).manifest.set_index("id")
    assert rows.loc[[f"{PREFIX}cat.4085.jpg", f"{PREFIX}dog.5604.jpg"], "status"].tolist() == ["used", "used"]
    suspects = pd.read_csv(SUSPECTS)
    assert suspects.columns.tolist() == ["file", "given_label", "num_sources"]
    assert not suspects["file"].duplicated().any()


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        (
            [{"id": f"nowhere/{number}.jpg", "action": "drop", "why": "-"} for number in range(9)],
            r"9 of 9 decisions .*nowhere/4.jpg, \.\.\.",
        ),
        ([{"id": f"{PREFIX}dog.2.jpg", "action": "relabel", "label": "horse", "why": "-"}], r"'horse'; known ones: \['cat', 'dog'\]"),
        ([{"id": f"{PREFIX}dog.2.jpg", "action": "relabel", "why": "-"}], "`relabel` needs a `label`"),
        ([{"action": "drop", "why": "-"}], "by `id` or by `sha256`"),
        ([{"id": "x", "action": "burn", "why": "-"}], "entry 0.action"),
        ("no list", "is not a list of decisions"),
    ],
)
def test_a_wrong_decision_is_explained(archive: Archive, tmp_path: Path, entries: object, message: str) -> None:
    with pytest.raises(PawflowError, match=message):
        decide(archive, tmp_path, entries)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"- {id: x, action: drop, action: keep, why: twice}", "'action' occurs twice"),
        (b"- {id: x, action: drop, why: caf\xe9}", "decisions.yaml is not UTF-8 text"),
        (b"- {id: x", "decisions.yaml is not valid YAML"),
    ],
)
def test_a_file_that_cannot_be_read_as_meant_is_explained(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "decisions.yaml").write_bytes(content)
    with pytest.raises(PawflowError, match=message):
        read_decisions(tmp_path / "decisions.yaml")


def test_a_missing_file_is_named(archive: Archive, tmp_path: Path) -> None:
    with pytest.raises(PawflowError, match="there is no such file"):
        fuse([archive], parse_recipe(RECIPE, overrides=(f"decisions={tmp_path / 'none.yaml'}",)), tmp_path)
