from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from components.common.dataset import Dataset
from components.common.errors import PawflowError
from components.common.recipe import Recipe
from components.fuse.fuse import Archive, fuse
from pipeline.__main__ import main
from pipeline.catalog import find_recipe
from pipeline.export import export_folders


def test_folders_hold_every_image_as_a_hard_link(dataset: Dataset, tmp_path: Path) -> None:
    counts = export_folders(dataset, tmp_path / "out")
    placed = dataset.manifest.dropna(subset=["split"])
    for folder, splits in (("train", ["train", "validation"]), ("test", ["test"])):
        for label in dataset.classes:
            files = list((tmp_path / "out" / "dataset" / folder / label).iterdir())
            expected = placed[placed["split"].isin(splits) & (placed["label"] == label)]
            assert len(files) == len(expected) == counts[folder, label]
            assert all(os.stat(file).st_nlink == 2 for file in files)
    originals = dict(dataset.originals())
    for row in dataset.rows("test").itertuples():
        name = f"{row.source}-{Path(str(row.path)).stem}-{str(row.sha256)[:8]}.jpg"
        assert (tmp_path / "out/dataset/test" / str(row.label) / name).read_bytes() == originals[str(row.id)]
    first = dataset.rows("train").iloc[0]
    with Image.open(tmp_path / "out" / "files" / f"{first['sha256']}.png") as image:
        np.testing.assert_array_equal(np.asarray(image), dataset.images("train")[0])


def test_a_folder_in_use_is_refused(dataset: Dataset, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(PawflowError, match="is not empty"):
        export_folders(dataset, tmp_path)


def test_the_command_says_what_the_files_are(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["pipeline", "data", "export", str(dataset.folder), str(tmp_path / "out")])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    said = capsys.readouterr().out
    assert "train/cat: " in said
    assert "test: the original files." in said


def test_the_seed_mixture_has_its_proportion_and_breeds_apart(archives: list[Archive], tmp_path: Path) -> None:
    recipe: Recipe = find_recipe("seed_004", (f"sources.root={tmp_path}", "image_size=32"))
    assert recipe.split.test == pytest.approx(3505 / (8995 + 3505))
    sources = {source.name: source for source in recipe.sources.archives}
    fuse([Archive(sources[a.source.name], a.path, a.details) for a in archives], recipe, tmp_path)
    placed = Dataset(tmp_path).manifest.dropna(subset=["split"])
    assert placed.groupby("source")["label"].unique().map(list).to_dict() == {"dogs-vs-cats": ["cat"], "dog-breed-identification": ["dog"]}
    assert placed.dropna(subset=["breed"]).groupby("breed")["split"].nunique().max() == 1
    assert not placed["unconfounded"].any()
