"""Ten thousand damaged files through the whole of fuse: minutes, so `make test-fuzz` runs it and `make test` does not."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from components.common.dataset import Dataset
from components.common.recipe import Recipe, Source
from components.fuse.fuse import Archive, fuse
from tests.fuzz.mutation import mutate


@pytest.mark.parametrize("num_files", [pytest.param(10_000, marks=pytest.mark.fuzz), 300])
def test_every_damaged_file_has_a_row_with_a_reason(num_files: int, tmp_path: Path, recipe: Recipe) -> None:
    path = tmp_path / "photos.zip"
    with zipfile.ZipFile(path, "w") as packed:
        for name, data in mutate(num_files):
            packed.writestr(name, data)
    (tmp_path / "out").mkdir()
    fuse([Archive(Source(name="fuzz", provider="local"), path, {"origin": "drawn", "generated": True})], recipe, tmp_path / "out")
    manifest = Dataset(tmp_path / "out").manifest
    assert len(manifest) == manifest["id"].nunique() == num_files
    used = manifest["status"] == "used"
    assert 0.05 < used.mean() < 0.5
    assert (manifest.loc[~used, "reason"] != "").all()
