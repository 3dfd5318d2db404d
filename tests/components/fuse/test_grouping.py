from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from components.common.dataset import Dataset
from components.common.errors import PawflowError
from components.common.recipe import Recipe, Source, parse_recipe
from components.fuse.evidence import PLACEMENT
from components.fuse.fuse import Archive, fuse
from components.fuse.splitting import choose_split
from tests.components.fuse.drawing import encode, scene, vary, write_dog_breeds, write_dogs_vs_cats
from tests.conftest import RECIPE

NUM_OLD, NUM_NEW = 300, 1000


def fused(folder: Path, archives: list[Archive], recipe: Recipe) -> pd.DataFrame:
    folder.mkdir()
    fuse(archives, recipe, folder)
    return Dataset(folder).manifest.set_index("path")


def old_files() -> dict[str, bytes]:
    return {f"{'cat' if number % 2 else 'dog'}.{number}.jpg": encode(scene(number)) for number in range(NUM_OLD)}


def follow(previous: Path, *overrides: str) -> Recipe:
    return parse_recipe(RECIPE, overrides=(f"sources.previous={previous}", *overrides))


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory, recipe: Recipe) -> Path:
    folder = tmp_path_factory.mktemp("old")
    fused(folder / "dataset", [write_dogs_vs_cats(folder / "a.zip", old_files())], recipe)
    return folder / "dataset"


@pytest.mark.parametrize("overrides", [(), ("seed=9", "split.test=0.4"), ("balance=undersample",)])
def test_a_thousand_new_images_move_no_old_one(old: Path, tmp_path: Path, overrides: tuple[str, ...]) -> None:
    generator = np.random.default_rng(5)
    new = {}
    for number in range(NUM_OLD, NUM_OLD + NUM_NEW):
        label = "cat" if number % 2 else "dog"
        # One in five is the near-duplicate of an old image, one in fifty its exact copy, some of them with the other label.
        copied = int(generator.integers(NUM_OLD))
        kinds = {0: encode(scene(copied)), 1: vary(copied), 2: vary(copied, 80)}
        new[f"{label}.{number}.jpg"] = kinds.get(int(generator.integers(50)) // 4, encode(scene(number)))
    files = list((old_files() | new).items())
    mixed = dict(files[position] for position in generator.permutation(len(files)))
    manifest = fused(tmp_path / "out", [write_dogs_vs_cats(tmp_path / "b.zip", mixed)], follow(old, *overrides))
    before = Dataset(old).manifest.set_index("path")
    stayed = manifest.loc[before.index]
    pd.testing.assert_series_equal(stayed["split"], before["split"])
    added = manifest.drop(before.index)
    rejected = added[added["status"] == "rejected"]
    assert len(rejected) > 40
    assert rejected["reason"].str.contains("would bridge two splits").all()
    assert added["split"].notna().sum() > 600
    assert manifest.dropna(subset=["split"]).groupby("group")["split"].nunique().max() == 1


def test_new_data_at_the_end_needs_no_memory(old: Path, tmp_path: Path, recipe: Recipe) -> None:
    files = old_files() | {f"cat.{900 + number}.jpg": vary(number) for number in range(60)}
    manifest = fused(tmp_path / "out", [write_dogs_vs_cats(tmp_path / "b.zip", files)], recipe)
    before = Dataset(old).manifest.set_index("path")
    pd.testing.assert_series_equal(manifest.loc[before.index]["split"], before["split"])
    added = manifest.drop(before.index)
    assert set(added["status"]) == {"used", "rejected"}
    joined = added[added["status"] == "used"]
    assert (joined["group"].to_numpy() == before.loc[joined.index.map(original_of), "group"].to_numpy()).all()


def original_of(path: str) -> str:
    number = int(path.split(".")[-2]) - 900
    return f"train.zip/train/{'cat' if number % 2 else 'dog'}.{number}.jpg"


def test_a_near_duplicate_joins_across_sources_or_is_rejected(tmp_path: Path, recipe: Recipe) -> None:
    photos = write_dogs_vs_cats(tmp_path / "a.zip", old_files())
    breeds = {f"{number:032x}": (f"breed {number % 8}", vary(number)) for number in range(80)}
    breeds |= {f"{1000 + number:032x}": (f"breed {number % 8}", encode(scene(1000 + number))) for number in range(40)}
    manifest = fused(tmp_path / "out", [photos, write_dog_breeds(tmp_path / "b.zip", breeds)], recipe)
    dogs = manifest[manifest["source"] == "dog-breed-identification"]
    for path, row in dogs.iterrows():
        number = int(Path(str(path)).stem, 16)
        if number >= 1000:
            assert row["status"] == "used"
            continue
        original = manifest.loc[original_of(f"x.{900 + number}.jpg")]
        if original["split"] == choose_split(row["breed"], recipe.split, recipe.seed):
            assert (row["status"], row["group"]) == ("used", original["group"])
        else:
            assert row["status"] == "rejected"
            assert original["id"] in row["reason"]
    assert {"used", "rejected"} <= set(dogs["status"])
    placed = manifest.dropna(subset=["split"])
    assert placed.groupby("group")["split"].nunique().max() == 1
    # Near-duplicates connect a breed with the photo: the group is larger than either key.
    assert placed.groupby("group")["source"].nunique().max() == 2


def test_an_earlier_dataset_that_breaks_the_rules_is_refused(old: Path, tmp_path: Path) -> None:
    manifest = pd.read_parquet(old / "manifest.parquet")
    files = old_files() | {"cat.900.jpg": vary(1)}
    archive = write_dogs_vs_cats(tmp_path / "b.zip", files)
    entry = manifest.iloc[[1]].assign(id="dogs-vs-cats/train.zip/train/cat.900.jpg", sha256=sha_of(archive, "train/cat.900.jpg"))
    entry["split"] = "train" if manifest["split"].iloc[1] != "train" else "test"
    pd.concat([manifest, entry]).to_parquet(tmp_path / "manifest.parquet")
    with pytest.raises(PawflowError, match="remove sources.previous"):
        fused(tmp_path / "out", [archive], follow(tmp_path))


def sha_of(archive: Archive, name: str) -> str:
    import hashlib
    import io

    with zipfile.ZipFile(archive.path) as outer, zipfile.ZipFile(io.BytesIO(outer.read("train.zip"))) as inner:
        return hashlib.sha256(inner.read(name)).hexdigest()


def write_groups(path: Path, *numbers: int) -> Archive:
    """A source with a table, in which four photos that follow one another are a group, and so are the same ones `NUM_OLD` further on."""
    rows = {number: f"{number}.jpg,{'cat' if number % 2 else 'dog'},group {number % NUM_OLD // 4}" for number in numbers}
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("labels.csv", "\n".join(["path,label,group", *rows.values()]))
        for number in numbers:
            archive.writestr(f"{number}.jpg", encode(scene(number)))
    return Archive(Source(name=path.stem, provider="local", layout="csv"), path, {"origin": "test", "generated": False})


@pytest.mark.parametrize("previous", ["", "manifest.parquet"])
def test_new_photos_of_a_declared_group_follow_it_from_any_source(previous: str, tmp_path: Path, recipe: Recipe) -> None:
    first = write_groups(tmp_path / "first.zip", *range(120))
    before = fused(tmp_path / "old", [first], recipe)
    second = write_groups(tmp_path / "second.zip", *range(NUM_OLD, NUM_OLD + 120, 4))
    memory = tmp_path / "old"
    if previous:
        (memory / PLACEMENT).unlink()
    manifest = fused(tmp_path / "new", [first, second], follow(memory / previous, "seed=9"))
    added = manifest[manifest["source"] == "second"]
    assert (added["status"] == "used").all()
    splits = before.groupby("group")["split"].first()
    assert added["split"].tolist() == added["group"].map(splits).tolist()
    assert added["split"].tolist() != [choose_split(group, recipe.split, 9) for group in added["group"]]


def test_a_missing_earlier_dataset_is_named(tmp_path: Path) -> None:
    archive = write_dogs_vs_cats(tmp_path / "a.zip", old_files())
    with pytest.raises(PawflowError, match="expected the output folder of an earlier fuse step"):
        fused(tmp_path / "out", [archive], follow(tmp_path / "nowhere"))
