from __future__ import annotations

from pathlib import Path

import pytest

from components.common import dataset as module
from components.common.dataset import Dataset, digest_manifest
from components.common.errors import PawflowError
from components.fuse.hashing import hash_squares, write_hash


def test_pixels_and_rows_are_in_the_same_order(dataset: Dataset) -> None:
    for split in module.SPLITS:
        rows = dataset.rows(split)
        assert [write_hash(value) for value in hash_squares(dataset.images(split)[:])] == list(rows["perceptual_hash"])
        assert [dataset.classes[label] for label in dataset.labels(split)] == list(rows["label"])
    assert [identifier for identifier, _ in dataset.originals()] == list(dataset.rows("test")["id"])


def test_the_digest_ignores_order_and_sees_content(dataset: Dataset) -> None:
    manifest = dataset.manifest
    assert digest_manifest(manifest, dataset.image_size) == dataset.digest
    assert digest_manifest(manifest.sample(frac=1, random_state=0), dataset.image_size) == dataset.digest
    changed = manifest.copy()
    changed.loc[0, "split"] = "train" if changed.loc[0, "split"] != "train" else "test"
    assert digest_manifest(changed, dataset.image_size) != dataset.digest
    assert digest_manifest(manifest, 64) != dataset.digest


def test_another_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PawflowError, match=r"holds no manifest\.parquet"):
        Dataset(tmp_path)
