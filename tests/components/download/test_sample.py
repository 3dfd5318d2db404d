"""The generated archives: Kaggle's layouts, the flaws that real archives have, and nothing but shape to tell the classes apart."""

from __future__ import annotations

import csv
import hashlib
import io
import re
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps, ImageStat
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from components.common.errors import PawflowError
from components.download.sources import sample
from components.download.sources.anatomy import BREEDS

NUM_IMAGES = 48
SEED = 5
PROBE_NUM_IMAGES = 600
PROBE_MAX_AUC = 0.6
NUM_BINS = 8

DOGS_VS_CATS, DOG_BREEDS = "dogs-vs-cats", "dog-breed-identification"

Files = dict[str, bytes]


def read_zip(source: Path | io.BytesIO) -> Files:
    with zipfile.ZipFile(source) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def draw(folder: Path, name: str, num_images: int = NUM_IMAGES, seed: int = SEED) -> Path:
    path = folder / f"{name}.zip"
    sample.write_archive(name, path, num_images=num_images, seed=seed)
    return path


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("archives")
    return {name: draw(folder, name) for name in sample.LAYOUTS}


@pytest.fixture(scope="module")
def dogs_vs_cats(archives: dict[str, Path]) -> Files:
    return read_zip(io.BytesIO(read_zip(archives[DOGS_VS_CATS])["train.zip"]))


@pytest.fixture(scope="module")
def breed_rows(archives: dict[str, Path]) -> list[list[str]]:
    return list(csv.reader(io.StringIO(read_zip(archives[DOG_BREEDS])["labels.csv"].decode())))


@pytest.fixture(scope="module")
def breed_files(archives: dict[str, Path]) -> Files:
    return {name: content for name, content in read_zip(archives[DOG_BREEDS]).items() if name.startswith("train/")}


@pytest.fixture(params=sorted(sample.LAYOUTS))
def train_files(request: pytest.FixtureRequest, dogs_vs_cats: Files, breed_files: Files) -> Files:
    """The labelled files of each archive in turn."""
    return dogs_vs_cats if request.param == DOGS_VS_CATS else breed_files


def open_image(content: bytes) -> Image.Image | None:
    try:
        image = Image.open(io.BytesIO(content))
        image.load()
    except OSError:
        return None
    return image


def open_sound(files: Files) -> list[Image.Image]:
    return [image for image in map(open_image, files.values()) if image is not None]


def test_dogs_vs_cats_is_laid_out_as_on_kaggle(archives: dict[str, Path], dogs_vs_cats: Files) -> None:
    outer = read_zip(archives[DOGS_VS_CATS])
    assert sorted(outer) == ["test1.zip", "train.zip"]
    counts = Counter(re.fullmatch(r"train/(cat|dog)\.\d+\.jpg", name)[1] for name in dogs_vs_cats)  # type: ignore[index]
    assert set(dogs_vs_cats) == {f"train/{label}.{number}.jpg" for label, count in counts.items() for number in range(count)}
    assert sum(counts.values()) == NUM_IMAGES + len(sample.ON_TOP)
    assert abs(counts["cat"] - counts["dog"]) <= len(sample.ON_TOP)
    unlabelled = read_zip(io.BytesIO(outer["test1.zip"]))
    assert sorted(unlabelled) == [f"test1/{number}.jpg" for number in range(1, 5)]
    assert len(open_sound(unlabelled)) == len(unlabelled)


def test_dog_breeds_are_laid_out_as_on_kaggle(archives: dict[str, Path], breed_rows: list[list[str]], breed_files: Files) -> None:
    header, *rows = breed_rows
    assert header == ["id", "breed"]
    assert set(read_zip(archives[DOG_BREEDS])) == {"labels.csv", *breed_files}
    assert all(re.fullmatch(r"train/[0-9a-f]{32}\.jpg", name) for name in breed_files)
    assert rows == sorted(rows)
    counts = Counter(breed for _, breed in rows)
    assert set(counts) == set(BREEDS)
    assert len(counts) >= 14
    assert all(re.fullmatch(r"[a-z]+(_[a-z]+)*", breed) for breed in counts)
    assert min(counts.values()) >= NUM_IMAGES // len(BREEDS)


@pytest.mark.parametrize("name", sorted(sample.LAYOUTS))
def test_equal_arguments_give_equal_bytes(name: str, archives: dict[str, Path], tmp_path: Path) -> None:
    assert draw(tmp_path, name).read_bytes() == archives[name].read_bytes()


def test_another_seed_gives_other_drawings(dogs_vs_cats: Files, tmp_path: Path) -> None:
    other = read_zip(io.BytesIO(read_zip(draw(tmp_path, DOGS_VS_CATS, sample.MIN_IMAGES, SEED + 1))["train.zip"]))
    assert {hashlib.sha256(content).digest() for content in other.values() if content}.isdisjoint(
        hashlib.sha256(content).digest() for content in dogs_vs_cats.values()
    )


def test_damaged_files_are_on_top(train_files: Files) -> None:
    empty = [name for name, content in train_files.items() if not content]
    truncated = [name for name, content in train_files.items() if content and open_image(content) is None]
    assert (len(empty), len(truncated)) == (1, 1)
    assert Image.open(io.BytesIO(train_files[truncated[0]])).format == "JPEG"
    assert len(open_sound(train_files)) == NUM_IMAGES + 2  # Those to be dropped for being copies.


def test_duplicates_have_the_class_of_the_original(dogs_vs_cats: Files) -> None:
    names: dict[str, list[str]] = {}
    for name, content in dogs_vs_cats.items():
        names.setdefault(hashlib.sha256(content).hexdigest(), []).append(name)
    repeated = [group for group in names.values() if len(group) > 1]
    assert [len(group) for group in repeated] == [2]
    assert len({name.split(".")[0] for name in repeated[0]}) == 1


def test_duplicate_breeds_agree(breed_rows: list[list[str]], breed_files: Files) -> None:
    breeds = dict(breed_rows)
    groups: dict[bytes, list[str]] = {}
    for name, content in breed_files.items():
        groups.setdefault(content, []).append(breeds[Path(name).stem])
    repeated = [group for group in groups.values() if len(group) > 1]
    assert len(repeated) == 1
    assert len(set(repeated[0])) == 1


def test_one_near_duplicate_is_two_pixels_smaller(train_files: Files) -> None:
    images = open_sound(train_files)
    thumbnails = [np.asarray(image.convert("L").resize((16, 16)), dtype=np.float64) for image in images]
    pairs = [
        (small, large)
        for small, first in enumerate(images)
        for large, second in enumerate(images)
        if (first.width + 2, first.height + 2) == second.size and np.abs(thumbnails[small] - thumbnails[large]).mean() < 3
    ]
    assert len(pairs) == 1


def test_odd_encodings(train_files: Files, dogs_vs_cats: Files) -> None:
    images = open_sound(train_files)
    assert sum(image.format == "PNG" for image in images) == 1
    assert sum(image.mode == "L" for image in images) == 1
    assert sum(image.mode == "CMYK" for image in images) == (1 if train_files is dogs_vs_cats else 0)
    assert sum(content.startswith(b"\x89PNG\r\n\x1a\n") for content in train_files.values()) == 1


def test_orientation_tag_puts_the_drawing_upright(train_files: Files) -> None:
    (rotated,) = [image for image in open_sound(train_files) if image.getexif()]
    upright = ImageOps.exif_transpose(rotated)
    assert rotated.getexif()[sample.ORIENTATION_TAG] == sample.TURN_CLOCKWISE
    assert upright.size == rotated.size[::-1]
    # The stored pixels are the drawing turned to the left, so its top edge is the left column.
    difference = np.asarray(upright, dtype=int)[0] - np.asarray(rotated, dtype=int)[::-1, 0]
    assert np.abs(difference).max() == 0


def test_one_row_of_the_table_has_no_file(breed_rows: list[list[str]], breed_files: Files) -> None:
    identifiers = {identifier for identifier, _ in breed_rows[1:]}
    stored = {Path(name).stem for name in breed_files}
    assert len(identifiers - stored) == 1
    assert not stored - identifiers


def test_unknown_name_is_explained(tmp_path: Path) -> None:
    with pytest.raises(PawflowError, match="'birds'; expected dogs-vs-cats or dog-breed-identification"):
        draw(tmp_path, "birds")


@pytest.mark.parametrize("name", sorted(sample.LAYOUTS))
def test_too_few_images_are_explained(name: str, tmp_path: Path) -> None:
    with pytest.raises(PawflowError, match=r"23 images is too small; expected at least 24\. Raise num_images"):
        draw(tmp_path, name, sample.MIN_IMAGES - 1)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", sorted(sample.LAYOUTS))
def test_the_smallest_archive_has_every_flaw(name: str) -> None:
    flaws = [*sample.IN_PLACE, *sample.ON_TOP]
    assert sorted(sample._place_flaws(flaws, sample.MIN_IMAGES).values()) == sorted(flaws)
    assert max(sample._place_flaws(flaws, sample.MIN_IMAGES)) < sample.MIN_IMAGES


def describe(image: Image.Image, num_bytes: int) -> list[float]:
    """Everything cheap that could give the class away: size, bytes, colour statistics and histograms."""
    image = image.convert("RGB")
    statistics = ImageStat.Stat(image)
    shares = np.array(image.histogram()).reshape(3 * NUM_BINS, -1).sum(axis=1) / (image.width * image.height)
    return [*image.size, num_bytes, *statistics.mean, *statistics.stddev, *shares]


def test_size_and_colour_do_not_tell_the_class(tmp_path: Path) -> None:
    files = read_zip(io.BytesIO(read_zip(draw(tmp_path, DOGS_VS_CATS, PROBE_NUM_IMAGES))["train.zip"]))
    sound = [(name, content, image) for name, content in files.items() if (image := open_image(content)) is not None]
    features = np.array([describe(image, len(content)) for _, content, image in sound])
    is_dog = np.array([name.startswith("train/dog") for name, _, _ in sound])
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    linear = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
    for probe in (linear, GradientBoostingClassifier(n_estimators=60, subsample=0.5, random_state=0)):
        scores = cross_val_predict(probe, features, is_dog, cv=folds, method="predict_proba")[:, 1]
        assert roc_auc_score(is_dog, scores) <= PROBE_MAX_AUC
