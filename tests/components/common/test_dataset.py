from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from components.common import dataset as module
from components.common.dataset import Dataset, Images, ImageWriter, digest_manifest
from components.common.errors import PawflowError


def test_images_come_back_from_several_shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_ROWS_PER_SHARD", 4)
    expected = np.random.default_rng(0).integers(0, 256, (10, 8, 8, 3), dtype=np.uint8)
    writer = ImageWriter(tmp_path, "train", 10, 8)
    places = [writer.append(pixels) for pixels in expected]
    writer.close()
    assert places[:5] == [("train-0000.npy", 0), ("train-0000.npy", 1), ("train-0000.npy", 2), ("train-0000.npy", 3), ("train-0001.npy", 0)]
    images = Images(sorted(tmp_path.glob("train-*.npy")))
    assert len(images) == 10
    rows = np.array([9, 0, 5, 5, 3])
    np.testing.assert_array_equal(images.take(rows), expected[rows])
    np.testing.assert_array_equal(images[7], expected[7])
    np.testing.assert_array_equal(np.concatenate(list(images.batches(3))), expected)


def test_pixels_and_rows_are_in_the_same_order(dataset: Dataset) -> None:
    for split in module.SPLITS:
        assert len(dataset.images(split)) == len(dataset.rows(split)) == len(dataset.labels(split))
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
