from __future__ import annotations

import dataclasses
import io
import json
import zipfile
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from components.common.dataset import Dataset
from components.common.errors import PawflowError
from components.common.recipe import Recipe, Source, parse_recipe
from components.fuse.audit import LEVELS, find_unconfounded, state_finding
from components.fuse.fuse import Archive, fuse
from components.fuse.splitting import undersample
from tests.components.fuse.drawing import encode, scene, write_dog_breeds, write_dogs_vs_cats
from tests.components.fuse.test_fuse import many, photo
from tests.conftest import RECIPE


def audited(archives: list[Archive], recipe: Recipe, folder: Path) -> dict[str, object]:
    folder.mkdir()
    record = fuse(archives, recipe, folder)
    report = json.loads((folder / "report.json").read_text())["audit"]
    assert {f"audit.{name}": probe["auc"] for name, probe in report["probes"].items()}.items() <= record.metrics.items()
    return dict(report)


def auc(report: dict[str, object], name: str) -> float:
    return float(report["probes"][name]["auc"])  # type: ignore[index]


def test_archives_saved_differently_are_found_out(tmp_path: Path, recipe: Recipe) -> None:
    # Cats of one archive and dogs of the other, equal but for the quality at which their JPEGs were saved.
    both = {f"{label}.{number}.jpg": encode(scene(number + 1000 * (label == "dog"))) for number in range(120) for label in ("cat", "dog")}
    breeds = {f"{number:032x}": (f"breed {number % 24}", encode(scene(5000 + number), 80)) for number in range(160)}
    photos, dogs = write_dogs_vs_cats(tmp_path / "a.zip", both), write_dog_breeds(tmp_path / "b.zip", breeds)
    cats = dataclasses.replace(photos, source=photos.source.model_copy(update={"labels": {"cat": "cat"}}))
    report = audited([cats, dogs], recipe, tmp_path / "confounded")
    assert report["level"] == "severe"
    assert auc(report, "class_from_file") > 0.99
    assert "AUC 1.000 (n = 280)" in str(report["finding"])
    assert auc(report, "class_from_encoder") > 0.99
    assert auc(report, "class_from_size") < 0.65

    mixed = audited([photos, dogs], recipe, tmp_path / "mixed")
    assert auc(mixed, "source_from_file.dog") > 0.99
    assert auc(mixed, "class_from_file.dogs-vs-cats") < 0.65
    assert 0.6 < auc(mixed, "class_from_file") < 0.95
    assert mixed["images"] == {"dog-breed-identification": {"cat": 0, "dog": 160}, "dogs-vs-cats": {"cat": 120, "dog": 120}}

    alone = audited([photos], recipe, tmp_path / "alone")
    assert alone["level"] == "none"
    assert auc(alone, "class_from_pixels") < 0.65, "scenes are drawn alike for both classes"


def test_busy_pictures_are_told_from_bytes_alone_and_the_sentence_says_so(tmp_path: Path, recipe: Recipe) -> None:
    """All of one size and encoder; the dogs have stripes."""
    files: dict[str, bytes] = {}
    for number in range(60):
        striped = scene(1000 + number)
        for column in range(0, 80, 4):
            striped.paste("black", (column, 0, column + 2, 60))
        files |= {f"cat.{number}.jpg": encode(scene(number)), f"dog.{number}.jpg": encode(striped)}
    report = audited([write_dogs_vs_cats(tmp_path / "a.zip", files)], recipe, tmp_path / "busy")
    assert report["level"] == "severe"
    assert auc(report, "class_from_bytes") > 0.9 > 0.65 > max(auc(report, "class_from_size"), auc(report, "class_from_encoder"))
    finding = str(report["finding"])
    assert "alone, width and height 0.500, number of bytes 1.000, format and encoder 0.500" in finding
    assert "only the number of bytes differs; busy pictures have more of these" in finding
    assert "gate.confounding=report is right, else collect the classes alike" in finding


def test_pixels_can_tell_the_source_where_files_cannot(tmp_path: Path, recipe: Recipe) -> None:
    files = {f"{label}.{number}.jpg": encode(scene(number + 1000 * (label == "dog"))) for number in range(120) for label in ("cat", "dog")}
    framed = {}
    for number in range(120):
        image = Image.new("RGB", (80, 60), "black")
        image.paste(scene(7000 + number).resize((70, 60)), (5, 0))
        framed[f"{number:032x}"] = (f"breed {number % 24}", encode(image))
    archives = [write_dogs_vs_cats(tmp_path / "a.zip", files), write_dog_breeds(tmp_path / "b.zip", framed)]
    report = audited(archives, recipe, tmp_path / "out")
    assert auc(report, "source_from_pixels.dog") > 0.95


def test_what_a_file_says_of_its_making_is_kept(tmp_path: Path, recipe: Recipe) -> None:
    exif = Image.Exif()
    exif[0x010F] = "maker"
    stream = io.BytesIO()
    scene(900).save(stream, "JPEG", exif=exif)
    png = io.BytesIO()
    scene(901).save(png, "PNG")
    files = {f"{label}.{number}.jpg": encode(scene(number + 1000 * (label == "dog"))) for number in range(60) for label in ("cat", "dog")}
    files |= {"cat.900.jpg": stream.getvalue(), "cat.901.jpg": png.getvalue(), "cat.902.jpg": b"nothing"}
    (tmp_path / "out").mkdir()
    fuse([write_dogs_vs_cats(tmp_path / "a.zip", files)], recipe, tmp_path / "out")
    metadata = pd.read_parquet(tmp_path / "out" / "metadata.parquet").set_index("id")
    prefix = "dogs-vs-cats/train.zip/train/cat."
    assert len(metadata) == len(files) - 1
    assert (metadata.at[f"{prefix}900.jpg", "has_exif"], metadata.at[f"{prefix}0.jpg", "has_exif"]) == (True, False)
    assert (metadata.at[f"{prefix}901.jpg", "format"], metadata.at[f"{prefix}901.jpg", "num_tables"]) == ("PNG", 0)
    assert metadata.at[f"{prefix}0.jpg", "num_tables"] == 2
    assert 1 < metadata["luminance_table"].astype(float).loc[f"{prefix}0.jpg"] < 30


@pytest.mark.parametrize(("value", "level"), [(1.0, "severe"), (0.9, "severe"), (0.8, "strong"), (0.65, "slight"), (0.56, "none")])
def test_the_finding_has_words_for_every_figure(value: float, level: str) -> None:
    found, sentence = state_finding({"class_from_file": {"auc": value, "n": 100}, "class_from_file.here": {"auc": 0.561, "n": 50}}, 2)
    assert found == level
    assert f"AUC {value:.3f} (n = 100); within here alone 0.561" in sentence
    assert LEVELS[-1][0] == 0.0


def test_too_few_images_are_not_judged() -> None:
    assert state_finding({}, 2)[0] == "unknown"


def test_a_class_of_one_group_is_no_question(tmp_path: Path, recipe: Recipe) -> None:
    """Cats of a second source are all of one litter: whoever is to tell its cats by the others has seen none of them."""
    table = "path,label,group\n" + "".join(f"{number}.jpg,cat,litter\n" for number in range(30))
    with zipfile.ZipFile(tmp_path / "mine.zip", "w") as mine:
        mine.writestr("labels.csv", table)
        for number in range(30):
            mine.writestr(f"{number}.jpg", photo(5000 + number))
    own = Archive(Source(name="mine", provider="local", layout="csv"), tmp_path / "mine.zip", {"origin": "test", "generated": False})
    report = audited([write_dogs_vs_cats(tmp_path / "archive.zip", many(60)), own], recipe, tmp_path / "out")
    assert auc(report, "class_from_file") < 0.9
    assert "source_from_file.cat" not in report["probes"]  # type: ignore[operator]


def test_a_source_that_is_alone_is_not_compared_with_others() -> None:
    told = {"class_from_file": {"auc": 0.8}, "class_from_size": {"auc": 0.79}, "class_from_bytes": {"auc": 0.7}}
    _, alone = state_finding({name: {**answer, "n": 100} for name, answer in told.items()}, 1)
    assert "differ in width and height and in number of bytes: if the difference belongs to what they show" in alone
    assert "gate.confounding=report is right, else collect the classes alike" in alone
    assert "source" not in alone.split("Confounding")[1]


def test_the_unconfounded_slice_is_of_sources_with_every_class(dataset: Dataset) -> None:
    manifest = dataset.manifest
    placed = manifest["split"].notna()
    assert (manifest["unconfounded"] == (placed & (manifest["source"] == "dogs-vs-cats"))).all()
    assert not find_unconfounded(manifest, ["cat", "dog", "horse"]).any()


@pytest.mark.parametrize(("num_odd", "others", "holds"), [(1, 300, False), (24, 300, False), (25, 300, True), (1, 0, True)])
def test_a_few_odd_photos_are_no_second_class_where_there_are_other_sources(num_odd: int, others: int, holds: bool) -> None:
    """A source of dogs, some of which a decision calls cats, alone or beside one of cats and dogs."""
    labels = ["cat"] * num_odd + ["dog"] * (1000 - num_odd) + ["cat", "dog"] * (others // 2)
    manifest = pd.DataFrame({"source": ["dogs"] * 1000 + ["both"] * others, "label": labels, "split": "train"})
    assert (find_unconfounded(manifest, ["cat", "dog"]) == ((manifest["source"] == "both") | holds)).all()


def test_sources_can_be_balanced(archives: list[Archive], dataset: Dataset, tmp_path: Path) -> None:
    fuse(archives, parse_recipe(RECIPE, overrides=("balance=sources",)), tmp_path)
    train, before = Dataset(tmp_path).rows("train"), dataset.rows("train")
    assert set(train["source"]) == {"dogs-vs-cats"}
    aside = Dataset(tmp_path).manifest.query("status == 'set_aside' and source == 'dog-breed-identification'")
    assert set(aside["reason"]) == {"dog-breed-identification has no cat in the training split, so that it would tell the class"}
    fewest = before[before["source"] == "dogs-vs-cats"]["label"].value_counts().min()
    assert train["label"].value_counts().to_dict() == {"cat": fewest, "dog": fewest}
    assert len(Dataset(tmp_path).rows("test")) == len(dataset.rows("test"))


def test_balancing_sources_that_hold_one_class_each_is_refused(dataset: Dataset) -> None:
    split_by_source = dataset.manifest[(dataset.manifest["source"] == "dogs-vs-cats") == (dataset.manifest["label"] == "cat")]
    with pytest.raises(PawflowError, match="`balance: sources` keeps the sources that hold every class, but none does"):
        undersample(split_by_source, 0, per_source=True)
