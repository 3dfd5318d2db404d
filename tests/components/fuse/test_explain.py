from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from components.common.dataset import Dataset
from components.common.errors import PawflowError
from components.common.recipe import Split, parse_recipe
from components.fuse.explain import explain, find_image
from components.fuse.fuse import fuse
from components.fuse.splitting import choose_split, draw_position
from tests.components.fuse.conftest import NUM_VARIED, PREFIX
from tests.components.fuse.drawing import encode, scene, write_dog_breeds, write_dogs_vs_cats
from tests.conftest import RECIPE


def test_every_image_is_explained(told: Dataset) -> None:
    for _, row in told.manifest.iterrows():
        facts = json.loads(json.dumps(explain(told, row["id"])))
        assert (facts["id"], facts["status"]) == (row["id"], row["status"])
        assert facts["split"]["why"]


def test_the_split_is_explained_by_the_hash_of_the_key(told: Dataset) -> None:
    for name, key in (("dog.50.jpg", None), ("train/2001.jpg", "b")):
        facts = explain(told, name)
        position = draw_position(key or facts["file"]["sha256"], 2)
        assert f"falls on {position:.4f}: below 0.25 is test, below 0.45 validation" in facts["split"]["why"]
        assert ("breed b" in facts["split"]["why"]) == (key is not None)


def test_the_group_names_its_members_and_what_ties_them(told: Dataset) -> None:
    breed = explain(told, "2001.jpg")["group"]
    assert breed["name"] == "b"
    assert {member["id"] for member in breed["members"]} == {
        f"dog-breed-identification/train/{number}.jpg" for number in range(2005, 2040, 4)
    }
    assert {member["why"] for member in breed["members"]} == {"breed b"}
    statuses = []
    for number in range(NUM_VARIED):
        label = "cat" if number % 2 else "dog"
        facts = explain(told, f"{label}.{number + 500}.jpg")
        (pair,) = facts["near_duplicates"]
        assert pair["id"] == f"{PREFIX}{label}.{number}.jpg"
        assert pair["bits"] <= 7
        statuses.append(facts["status"])
        if facts["status"] == "rejected":
            assert facts["split"]["split"] is None
            assert f"rejected: would bridge two splits: it belongs to {facts['split']['own_split']}" in facts["split"]["why"]
        else:
            assert [member["id"] for member in facts["group"]["members"]] == [pair["id"]]
            assert "near-duplicate, hashes" in facts["group"]["members"][0]["why"]
    assert set(statuses) >= {"rejected", "used"}


def test_what_an_earlier_dataset_placed_is_explained_by_it(tmp_path: Path) -> None:
    files = {f"{'cat' if number % 2 else 'dog'}.{number}.jpg": encode(scene(number)) for number in range(120)}
    breeds = {f"{number}": ("abcd"[number % 4], encode(scene(number))) for number in range(2000, 2012)}
    shares = Split(validation=0.2, test=0.25)
    moved = next(breed for breed in "abcd" if choose_split(breed, shares, 2) != choose_split(breed, shares, 9))
    photos = write_dogs_vs_cats(tmp_path / "a.zip", files)
    for folder, new, overrides in (
        ("old", {}, ()),
        ("new", {"2013": (moved, encode(scene(2013)))}, (f"sources.previous={tmp_path / 'old'}", "seed=9")),
    ):
        (tmp_path / folder).mkdir()
        fuse([photos, write_dog_breeds(tmp_path / "b.zip", breeds | new)], parse_recipe(RECIPE, overrides=overrides), tmp_path / folder)
    before = Dataset(tmp_path / "old").manifest.set_index("path")["split"]
    dataset, told_by = Dataset(tmp_path / "new"), set()
    for path, split in before.items():
        facts = explain(dataset, str(path))["split"]
        assert facts["why"] == f"kept from the earlier dataset, which had it in {split}"
        told_by.add(facts["split"] == choose_split(facts["key"], shares, 9))
    # Other seed, other hash: some images are where it would not have put them.
    assert told_by == {True, False}
    newcomer = explain(dataset, "2013.jpg")["split"]
    assert newcomer["why"] == f"the earlier dataset has the breed {moved} in {choose_split(moved, shares, 2)}"


def test_labels_copies_and_conflicts_are_explained(told: Dataset) -> None:
    assert explain(told, "dog.50.jpg")["label"]["why"] == "given by the source"
    relabelled = explain(told, "dog.42.jpg")["label"]
    assert relabelled["why"] == "decided (relabel), which was dog before: it is a cat"
    assert explain(told, "cat.4085.jpg")["label"]["votes_against"] == 3
    (copy,) = explain(told, "dog.900.jpg")["identical"]
    assert copy["id"] == f"{PREFIX}dog.30.jpg"
    (identical,) = explain(told, "cat.901.jpg")["conflicts"]
    assert (identical["kind"], len(identical["images"])) == ("identical", 2)
    assert [conflict["kind"] for conflict in explain(told, "cat.902.jpg")["conflicts"]] == ["near_duplicate"]
    assert explain(told, "dog.903.jpg")["nearest"] == []


def test_the_slice_is_explained(told: Dataset) -> None:
    held = {name: explain(told, name)["unconfounded"] for name in ("cat.51.jpg", "2001.jpg", "dog.40.jpg")}
    assert [item["value"] for item in held.values()] == [True, False, False]
    assert held["2001.jpg"]["why"] == "its source holds fewer than 25 images of cat, so it gives the class away"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("dgo.50.jpg", "none of the 186 images is called 'dgo.50.jpg'; the closest are\n  dogs-vs-cats/train.zip/train/dog.50.jpg"),
        ("og.50.jpg", "none of the 186 images"),
        ("zebra with stripes", "they look like dogs-vs-cats/"),
    ],
)
def test_an_unknown_name_is_answered_with_the_closest(told: Dataset, name: str, message: str) -> None:
    with pytest.raises(PawflowError, match=message.replace("(", r"\(")):
        explain(told, name)


def test_a_name_of_several_images_lists_them(told: Dataset) -> None:
    ids = told.manifest["id"]
    doubled = ids.where(ids != ids.iloc[0], f"other/{ids.iloc[1]}")
    with pytest.raises(PawflowError, match=rf"fits 2 ids; pass more .*:\n  other/{ids.iloc[1]}\n  {ids.iloc[1]}"):
        find_image(doubled, ids.iloc[1].rpartition("/")[2])
    assert find_image(doubled, ids.iloc[1]) == 1


def test_the_start_of_a_name_that_a_page_has_cut_is_enough(told: Dataset) -> None:
    ids = told.manifest["id"].where(told.manifest.index != 1, "photos/dog/f735d3b3f0f136.jpg")
    assert find_image(ids, "f735d3b3…") == find_image(ids, "dog/f735d3b3") == find_image(ids, "f735d3b3f0f136") == 1
    # A whole name goes before those that only begin like it: there are dog.50.jpg and, with three digits, others.
    assert find_image(pd.Series(["train/dog.501.jpg", "train/dog.50.jpg", "train/dog.509.jpg"]), "dog.50") == 1
    with pytest.raises(PawflowError, match="none of the"):
        find_image(ids, "…")
