from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from components.common.dataset import Dataset
from components.common.errors import PawflowError
from components.common.recipe import Recipe
from components.fuse.fuse import fuse
from components.fuse.proof import prove
from tests.components.fuse.drawing import encode, scene, vary, write_dogs_vs_cats


def test_the_proof_counts_every_pair(dataset: Dataset) -> None:
    statement = json.loads((dataset.folder / "split_proof.json").read_text())
    counts = statement["images"]
    train, validation, test = (counts[split] for split in ("train", "validation", "test"))
    checked = statement["checked"]
    assert statement["crossing"] == 0
    assert checked["near_duplicate"]["pairs"] == train * validation + train * test + validation * test
    assert {kind: values["crossing"] for kind, values in checked.items()} == dict.fromkeys(
        ("breed", "group", "sha256", "near_duplicate"), 0
    )
    sizes = dataset.manifest.dropna(subset=["split", "breed"])["breed"].value_counts()
    assert checked["breed"]["pairs"] == (sizes * (sizes - 1) // 2).sum()


def test_a_near_duplicate_smuggled_into_another_split_is_found(dataset: Dataset, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(dataset.folder, folder)
    train, test = (np.load(folder / f"{split}-0000.npy", mmap_mode="r+") for split in ("train", "test"))
    # A brightened copy: neither the manifest nor the bytes give it away.
    train[3] = np.clip(test[5].astype(int) + 12, 0, 255)
    train.flush()
    with pytest.raises(PawflowError, match="1 near-duplicates lie in different splits, .* in train and .* in test"):
        prove(folder, dataset.classes)


def test_shards_that_do_not_fit_the_manifest_prove_nothing(dataset: Dataset, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(dataset.folder, folder)
    np.save(folder / "test-0000.npy", np.load(folder / "test-0000.npy")[:-1])
    with pytest.raises(PawflowError, match=r"the manifest has \d+ test images, but the shards hold \d+"):
        prove(folder, dataset.classes)


def test_duplicates_with_opposite_labels_are_listed(tmp_path: Path, recipe: Recipe) -> None:
    files = {f"{'cat' if number % 2 else 'dog'}.{number}.jpg": encode(scene(number)) for number in range(120)}
    files |= {"cat.900.jpg": encode(scene(0)), "cat.902.jpg": vary(2), "dog.904.jpg": vary(4)}
    (tmp_path / "out").mkdir()
    fuse([write_dogs_vs_cats(tmp_path / "a.zip", files)], recipe, tmp_path / "out")
    conflicts = Dataset(tmp_path / "out").report["conflicts"]
    assert isinstance(conflicts, list)
    names = [(item["kind"], [Path(image["id"]).name for image in item["images"]]) for item in conflicts]
    assert names == [("identical", ["dog.0.jpg", "cat.900.jpg"]), ("near_duplicate", ["dog.2.jpg", "cat.902.jpg"])]
