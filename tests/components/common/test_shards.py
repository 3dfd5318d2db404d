from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from components.common import shards as module
from components.common.shards import Images, ImageWriter, keep_images, list_shards, locate
from serving.images import Pixels


@pytest.fixture
def pixels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pixels:
    """Ten images that were written to shards of four in the current folder."""
    monkeypatch.setattr(module, "_ROWS_PER_SHARD", 4)
    written = np.random.default_rng(0).integers(0, 256, (10, 8, 8, 3), dtype=np.uint8)
    with ImageWriter(tmp_path, "train", 8) as writer:
        assert [writer.append(image) for image in written] == list(range(10))
    return written


def test_images_come_back_from_several_shards(pixels: Pixels, tmp_path: Path) -> None:
    images = Images(list_shards(tmp_path, "train"))
    assert len(images) == 10
    rows = np.array([9, 0, 5, 5, 3])
    np.testing.assert_array_equal(images.take(rows), pixels[rows])
    np.testing.assert_array_equal(images[7], pixels[7])
    np.testing.assert_array_equal(np.concatenate(list(images.batches(3))), pixels)


def test_a_shard_is_a_numpy_file_that_says_where_each_image_is(pixels: Pixels, tmp_path: Path) -> None:
    for image, shard, row in zip(pixels, *locate("train", 10), strict=True):
        np.testing.assert_array_equal(np.load(tmp_path / shard, mmap_mode="r")[row], image)


@pytest.mark.parametrize("kept", [[], [9], [0, 1, 2, 3], [0, 2, 4, 5, 6, 8, 9], [1, 2, 3, 4, 5, 6, 7, 8, 9], list(range(10))])
def test_what_is_left_out_leaves_no_gap(kept: list[int], pixels: Pixels, tmp_path: Path) -> None:
    keep_images(tmp_path, "train", np.array(kept, np.int64))
    files = list_shards(tmp_path, "train")
    assert [len(np.load(file)) for file in files] == [min(4, len(kept) - start) for start in range(0, len(kept), 4)]
    for image, original in zip(Images(files), pixels[kept], strict=True):
        np.testing.assert_array_equal(image, original)


def test_a_split_without_images_has_no_shards(tmp_path: Path) -> None:
    with ImageWriter(tmp_path, "test", 8):
        pass
    assert list_shards(tmp_path, "test") == []
    keep_images(tmp_path, "test", np.empty(0, np.int64))
    assert len(Images([])) == 0
