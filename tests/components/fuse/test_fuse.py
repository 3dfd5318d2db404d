from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from components.common.dataset import Dataset
from components.common.errors import PawflowError
from components.common.recipe import Recipe, Split, parse_recipe
from components.fuse.fuse import Archive, fuse
from components.fuse.layouts import read_entries
from components.fuse.splitting import choose_split, prove_split, undersample
from serving.images import read_photo
from tests.components.fuse.drawing import write_dogs_vs_cats
from tests.conftest import RECIPE


def photo(shade: int, *, width: int = 40) -> bytes:
    pixels = np.random.default_rng(shade).integers(0, 256, (30, width, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG")
    return stream.getvalue()


def many(count: int) -> dict[str, bytes]:
    return {f"{label}.{number}.jpg": photo(2 * number + (label == "dog")) for number in range(count) for label in ("cat", "dog")}


def test_every_file_has_a_row_with_a_reason(dataset: Dataset, archives: list[Archive]) -> None:
    manifest = dataset.manifest
    entries = [f"{archive.source.name}/{entry.path}" for archive in archives for entry in read_entries(archive.source.layout, archive.path)]
    assert sorted(manifest["id"]) == sorted(entries)
    found = manifest["status"].value_counts()
    # The generator's flaws: a truncated and an empty file, and a duplicate, in each archive; a row of labels.csv without a file.
    assert (found["unreadable"], found["duplicate"], found["missing"]) == (4, 2, 1)
    assert found["unlabelled"] >= 4
    assert (manifest.loc[manifest["status"] != "used", "reason"] != "").all()
    assert manifest.loc[manifest["status"] != "used", "split"].isna().all()
    assert manifest.loc[manifest["status"] == "used", "split"].notna().all()


def test_shards_hold_what_serving_would_see(dataset: Dataset, archives: list[Archive]) -> None:
    files = {f"{a.source.name}/{entry.path}": entry.data for a in archives for entry in read_entries(a.source.layout, a.path)}
    rows, images = dataset.rows("test"), dataset.images("test")
    for position in range(0, len(rows), 7):
        data = files[rows["id"].iloc[position]]
        assert data is not None
        np.testing.assert_array_equal(images[position], read_photo(data, dataset.image_size).pixels)
    assert dict(dataset.originals()) == {identifier: files[identifier] for identifier in rows["id"]}


def test_breeds_are_apart(dataset: Dataset) -> None:
    placed = dataset.manifest.dropna(subset=["breed", "split"])
    assert placed.groupby("breed")["split"].nunique().max() == 1
    assert placed["split"].nunique() == 3
    assert dataset.report["split_proof"]["breed"]["crossing"] == 0  # type: ignore[index]


@pytest.mark.parametrize("key", ["breed", "group", "sha256"])
def test_the_proof_fails_when_something_crosses(dataset: Dataset, key: str) -> None:
    manifest = dataset.manifest.copy()
    placed = manifest.dropna(subset=["split", "breed"])
    first = placed.index[0]
    other = placed.index[placed["split"] != placed.loc[first, "split"]][0]
    manifest.loc[other, key] = manifest.loc[first, key]
    with pytest.raises(PawflowError, match=f"the split leaks: 1 values of {key}"):
        prove_split(manifest, dataset.classes)


def test_a_split_without_a_class_is_refused(dataset: Dataset) -> None:
    manifest = dataset.manifest
    without = manifest[~((manifest["split"] == "test") & (manifest["label"] == "cat"))]
    with pytest.raises(PawflowError, match="the test split has no image of cat"):
        prove_split(without, dataset.classes)


def test_the_split_follows_from_the_group_alone() -> None:
    shares = Split(validation=0.2, test=0.3)
    splits = pd.Series([choose_split(f"group {number}", shares, 0) for number in range(10_000)])
    assert splits.value_counts(normalize=True)[["train", "validation", "test"]].tolist() == pytest.approx([0.5, 0.2, 0.3], abs=0.02)
    assert [choose_split(f"group {number}", shares, 0) for number in range(100)] == splits[:100].tolist()
    assert [choose_split(f"group {number}", shares, 1) for number in range(100)] != splits[:100].tolist()


def test_old_images_stay_where_they_are_when_data_grows(tmp_path: Path, recipe: Recipe) -> None:
    few, more = many(60), many(80)
    splits = []
    for name, files in (("few", few), ("more", more)):
        (tmp_path / name).mkdir()
        archive = write_dogs_vs_cats(tmp_path / f"{name}.zip", files)
        fuse([archive], recipe, tmp_path / name)
        splits.append(Dataset(tmp_path / name).manifest.set_index("id")["split"])
    assert len(splits[1]) == len(splits[0]) + 40
    pd.testing.assert_series_equal(splits[1].loc[splits[0].index], splits[0])


def test_identical_files_with_different_labels_are_both_left_out(tmp_path: Path, recipe: Recipe) -> None:
    files = many(60) | {"cat.900.jpg": photo(999), "dog.900.jpg": photo(999), "cat.901.jpg": photo(0)}
    archive = write_dogs_vs_cats(tmp_path / "archive.zip", files)
    (tmp_path / "out").mkdir()
    fuse([archive], recipe, tmp_path / "out")
    manifest = Dataset(tmp_path / "out").manifest.set_index("path")
    assert (manifest.loc[["train.zip/train/cat.900.jpg", "train.zip/train/dog.900.jpg"], "status"] == "conflict").all()
    assert "different labels" in str(manifest.loc["train.zip/train/cat.900.jpg", "reason"])
    assert manifest.loc["train.zip/train/cat.901.jpg", "reason"] == "identical to dogs-vs-cats/train.zip/train/cat.0.jpg"


def test_labels_can_be_renamed_and_left_out(tmp_path: Path, recipe: Recipe) -> None:
    archive = write_dogs_vs_cats(tmp_path / "archive.zip", many(60))
    renamed = Archive(archive.source.model_copy(update={"labels": {"cat": "feline"}}), archive.path, archive.details)
    (tmp_path / "out").mkdir()
    with pytest.raises(
        PawflowError, match=r"60 of 120 files of dogs-vs-cats \(test\) can be used \(for .*, all of the class feline; pawflow"
    ):
        fuse([renamed], recipe, tmp_path / "out")


def test_every_source_and_class_has_a_contact_sheet_whatever_their_names(tmp_path: Path, recipe: Recipe) -> None:
    """The first is the class c of a-b, the second the class b-c of a; the others have the longest name that a class may have."""
    archives, longest = [], "\N{CAT FACE}" * 100
    for number, (name, cat) in enumerate([("a-b", "c"), ("a", "b-c")]):
        files = {f"{label}.{n}.jpg": photo(1000 * number + 2 * n + (label == "dog")) for n in range(60) for label in ("cat", "dog")}
        archive = write_dogs_vs_cats(tmp_path / f"{name}.zip", files)
        source = archive.source.model_copy(update={"name": name, "labels": {"cat": cat, "dog": longest}})
        archives.append(Archive(source, archive.path, archive.details))
    (tmp_path / "out").mkdir()
    fuse(archives, recipe, tmp_path / "out")
    sheets = sorted(path.stem for path in (tmp_path / "out" / "contact_sheets").iterdir())
    assert sheets == ["001-a-b-c", f"002-a-{longest[:48]}", "003-a-b-c", f"004-a-b-{longest[:48]}"]


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ({"cat": "cat", "dgo": "dog"}, "`labels` of source 'dogs-vs-cats' names dgo, which no file of it has.* Its labels: cat, dog"),
        ({"cat": "cat/kitten", "dog": "dog"}, "train/cat.0.jpg is of the class 'cat/kitten'; a class names folders and metrics"),
        ({"cat": "..", "dog": "dog"}, "is of the class '..'"),
        ({"cat": "x" * 101, "dog": "dog"}, "1 to 100 characters"),
    ],
)
def test_labels_that_cannot_be_meant_are_refused(labels: dict[str, str], message: str, tmp_path: Path, recipe: Recipe) -> None:
    archive = write_dogs_vs_cats(tmp_path / "archive.zip", many(8))
    renamed = Archive(archive.source.model_copy(update={"labels": labels}), archive.path, archive.details)
    (tmp_path / "out").mkdir()
    with pytest.raises(PawflowError, match=message):
        fuse([renamed], recipe, tmp_path / "out")


def test_undersampling_evens_the_training_classes_only(dataset: Dataset, archives: list[Archive], tmp_path: Path) -> None:
    balanced = parse_recipe(RECIPE, overrides=("balance=undersample",))
    fuse(archives, balanced, tmp_path)
    counts, before = Dataset(tmp_path).report["splits"], dataset.report["splits"]
    assert isinstance(counts, dict)
    assert isinstance(before, dict)
    assert counts["train"]["cat"] == counts["train"]["dog"] == min(before["train"].values())
    assert counts["test"] == before["test"]
    surplus = undersample(dataset.manifest, seed=3)
    assert set(dataset.manifest.loc[surplus.index, "split"]) == {"train"}
    assert set(surplus) == {"surplus of its class in the training split"}


@pytest.mark.parametrize(("fewest", "num_each"), [(1, 30), (40, 40)])
def test_a_limit_takes_as_many_of_each_label(fewest: int, num_each: int, archives: list[Archive], tmp_path: Path) -> None:
    fuse(archives, parse_recipe(RECIPE, overrides=("sources.limit=60", f"sources.fewest_per_class={fewest}")), tmp_path)
    manifest = Dataset(tmp_path).manifest.query("source == 'dogs-vs-cats'")
    beyond = manifest["status"] == "beyond_limit"
    assert set(manifest.loc[beyond, "reason"]) == {"sources.limit is 60"}
    assert manifest.loc[beyond, "sha256"].isna().all()
    assert manifest.loc[~beyond, "path"].str.contains("cat").sum() == num_each
    assert (~beyond).sum() == 2 * num_each
    assert sorted(manifest["path"]) == sorted(entry.path for entry in read_entries("dogs_vs_cats", archives[0].path))


def test_another_layout_says_what_it_found(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        archive.writestr("a.jpg", b"")
    for layout, expected in (
        ("dogs_vs_cats", "expected train.zip"),
        ("dog_breeds", r"expected labels.csv"),
        ("zoo", "known ones: dogs_vs_cats"),
    ):
        with pytest.raises(PawflowError, match=expected):
            list(read_entries(layout, tmp_path / "photos.zip"))


def test_archives_without_files_are_refused(tmp_path: Path, recipe: Recipe) -> None:
    archive = write_dogs_vs_cats(tmp_path / "empty.zip", {})
    (tmp_path / "out").mkdir()
    with pytest.raises(PawflowError, match="there is no file in empty.zip"):
        fuse([archive], recipe, tmp_path / "out")


def test_an_archive_in_which_nothing_can_be_decoded_is_refused_with_an_example(tmp_path: Path, recipe: Recipe) -> None:
    archive = write_dogs_vs_cats(tmp_path / "archive.zip", {"cat.1.jpg": b"", "dog.1.jpg": b"text", "dog.2.jpg": b"text", "dog.3.jpg": b""})
    (tmp_path / "out").mkdir()
    expected = (
        r"0 of 4 files of dogs-vs-cats \(test\) can be used \(for instance .*cat.1.jpg: the file is empty.*\); pawflow needs .* two classes"
    )
    with pytest.raises(PawflowError, match=expected):
        fuse([archive], recipe, tmp_path / "out")
