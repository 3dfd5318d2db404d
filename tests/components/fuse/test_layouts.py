"""Every layout on a small archive of its kind, as zip, tar and folder, and what hostile ones try."""

from __future__ import annotations

import io
import pickle
import tarfile
import tracemalloc
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from components.common import archives
from components.common.dataset import Dataset
from components.common.errors import PawflowError
from components.common.recipe import Recipe, Source
from components.fuse.fuse import Archive, fuse
from components.fuse.layouts import LAYOUTS, Entry, item, read_entries
from serving.images import Pixels
from tests.components.fuse.test_fuse import photo


def write(path: Path, files: dict[str, bytes]) -> Path:
    """Lay files out as the ending of the path says: a folder, a tar file or a zip file."""
    if not path.suffix:
        for name, data in files.items():
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            (path / name).write_bytes(data)
    elif path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as packed:
            for name, data in files.items():
                packed.writestr(name, data)
    else:
        with tarfile.open(path, "w:gz") as tar:
            for name, data in files.items():
                member = tarfile.TarInfo(name)
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
    return path


def labels_of(layout: str, path: Path) -> dict[str, str | None]:
    return {entry.path: entry.label for entry in read_entries(layout, path)}


@pytest.mark.parametrize("name", ["photos", "photos.zip", "photos.tar.gz"])
def test_a_folder_for_each_class(name: str, tmp_path: Path) -> None:
    files = {"cat/1.jpg": b"1", "dog/2.jpg": b"2", "dog/more/3.jpg": b"3", "notes.txt": b"4", "__MACOSX/cat/._1.jpg": b"5"}
    path = write(tmp_path / name, files)
    assert labels_of("class_folders", path) == {
        "cat/1.jpg": "cat",
        "dog/2.jpg": "dog",
        "dog/more/3.jpg": "dog",
        "notes.txt": None,
        "__MACOSX/cat/._1.jpg": None,
    }
    assert {entry.path: entry.data for entry in read_entries("class_folders", path)} == files


def test_a_folder_around_the_class_folders_is_stepped_into(tmp_path: Path) -> None:
    wrapped = write(tmp_path / "wrapped.zip", {"pets/cat/1.jpg": b"", "pets/dog/2.jpg": b"", "pets/.DS_Store": b"", "__MACOSX/x/y": b""})
    assert set(labels_of("class_folders", wrapped).values()) == {"cat", "dog", None}
    backslashes = write(tmp_path / "windows.zip", {"cat\\1.jpg": b"", "dog\\2.jpg": b""})
    assert labels_of("class_folders", backslashes) == {"cat/1.jpg": "cat", "dog/2.jpg": "dog"}
    single = write(tmp_path / "single.zip", {"dog/1.jpg": b"", "dog/2.jpg": b""})
    assert set(labels_of("class_folders", single).values()) == {"dog"}
    with pytest.raises(PawflowError, match="expected a folder for each class"):
        labels_of("class_folders", write(tmp_path / "flat.zip", {"1.jpg": b""}))


@pytest.mark.parametrize(
    ("files", "labels"),
    [
        (["train/cat/1.jpg", "val/dog/2.jpg", "test/3.jpg"], ["cat", "dog", None]),
        (["pets/Train/cat/1.jpg", "pets/Test/dog/2.jpg"], ["cat", "dog"]),
        (["train/cat/1.jpg", "train/dog/2.jpg"], ["cat", "dog"]),
        (["train/1.jpg", "train/2.jpg"], ["train", "train"]),
        (["train/1.jpg", "car/2.jpg"], ["train", "car"]),
        (["pets/cat/1.jpg", "pets/dog/2.jpg", "pets/README.txt"], ["cat", "dog", None]),
        (["cat/1.jpg", "dog/2.jpg", ".ipynb_checkpoints/1-checkpoint.jpg", "cat/.cache/3.jpg"], ["cat", "dog", None, None]),
    ],
)
def test_what_stands_around_class_folders_or_is_hidden_is_no_class(files: list[str], labels: list[str | None], tmp_path: Path) -> None:
    found = labels_of("class_folders", write(tmp_path / "photos.zip", dict.fromkeys(files, b"")))
    assert [found[name] for name in files] == labels


def test_the_parts_of_a_split_are_no_classes(tmp_path: Path) -> None:
    with pytest.raises(PawflowError, match="expected a folder for each class"):
        labels_of("class_folders", write(tmp_path / "photos.zip", {"train/1.jpg": b"", "test/2.jpg": b""}))


def test_a_limit_leaves_some_of_each_label_and_counts_only_those_that_are_used(tmp_path: Path) -> None:
    files = {f"breed{number % 40}/{number}.jpg": b"x" for number in range(400)}
    path = write(tmp_path / "photos.zip", files)

    def count(*limits: Any) -> int:
        return sum(entry.data is not None for entry in read_entries("class_folders", path, *limits))

    assert count(24) == 40
    assert count(24, 5) == 200
    assert count(24, 1, ["breed7", "breed8"]) == 20


@pytest.mark.parametrize("name", ["photos", "photos.zip", "photos.tar.gz"])
def test_a_table_beside_the_images(name: str, tmp_path: Path) -> None:
    table = "\ufeffPath,Label,Group\r\na.jpg, cat ,litter 1\r\nmore\\b.jpg,dog,\r\ngone.jpg,dog,x\r\nunsure.jpg,,\r\n../out.jpg,cat,\r\n"
    images = {"set/a.jpg": b"a", "set/more/b.jpg": b"b", "set/unsure.jpg": b"u", "set/extra.jpg": b"e"}
    found = {entry.path: entry for entry in read_entries("csv", write(tmp_path / name, {"set/list.csv": table.encode(), **images}))}
    assert found["set/a.jpg"] == Entry("set/a.jpg", b"a", "cat", group="litter 1")
    assert found["set/more/b.jpg"] == Entry("set/more/b.jpg", b"b", "dog")
    assert found["set/gone.jpg"] == Entry("set/gone.jpg", None, "dog", None, "x", "missing", "named in the labels, but not in the archive")
    assert found["out.jpg"] == Entry("out.jpg", None, "cat", None, None, "missing", "named in the labels, but not in the archive")
    assert {path for path, entry in found.items() if entry.label is None} == {"set/unsure.jpg", "set/extra.jpg"}


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"a.jpg": ""}, "expected one CSV file"),
        ({"a.csv": "path,label\n", "b.csv": "path,label\n"}, "one named labels.csv among several"),
        ({"a.csv": "file;label\nx;y\n"}, r"has the columns \['file;label'\]; expected path,label"),
        ({"a.csv": "path,label\na.jpg,\n"}, "gives no file a label"),
        ({"a.csv": "path,label\na.jpg,cat\n./a.jpg,dog\n"}, "two different things of 'a.jpg', in lines 2 and 3"),
        ({"a.csv": f"path,label\n{'x' * 200_000},cat\n"}, "is no CSV file"),
        ({"a.csv": "path,label\na.jpg,cat\n".encode("utf-16")}, "a.csv in photos.zip is UTF-16; save it as UTF-8"),
    ],
)
def test_a_table_that_cannot_be_used_says_why(files: dict[str, str | bytes], message: str, tmp_path: Path) -> None:
    path = write(tmp_path / "photos.zip", {name: text if isinstance(text, bytes) else text.encode() for name, text in files.items()})
    with pytest.raises(PawflowError, match=message):
        labels_of("csv", path)


@pytest.mark.parametrize(("table", "is_one"), [("path,label\n1.jpg,cat\n", True), ("index,class\n1,cat\n", False), ("", False)])
def test_folders_and_a_table_need_a_word(table: str, is_one: bool, tmp_path: Path) -> None:
    """Else it would be trained on folders which are no classes."""
    path = write(tmp_path / "photos", {"anna/1.jpg": b"1", "bela/2.jpg": b"2", "labels.csv": table.encode()})
    if is_one:
        with pytest.raises(PawflowError, match="holds folders and labels.csv, a table of labels.* sources.archives.0.layout=csv"):
            labels_of("class_folders", path)
    else:
        assert labels_of("class_folders", path) == {"anna/1.jpg": "anna", "bela/2.jpg": "bela", "labels.csv": None}


def test_the_inner_archive_of_dogs_vs_cats_is_read_by_itself(tmp_path: Path) -> None:
    path = write(tmp_path / "train.zip", {"train/cat.0.jpg": b"", "train/dog.0.jpg": b"", "train/notes.txt": b""})
    assert labels_of("dogs_vs_cats", path) == {"train/cat.0.jpg": "cat", "train/dog.0.jpg": "dog", "train/notes.txt": None}


def test_petimages_keep_their_thumbs_db(tmp_path: Path) -> None:
    files = {"PetImages/Cat/0.jpg": b"", "PetImages/Cat/Thumbs.db": b"", "PetImages/Dog/0.jpg": b"", "readme[1].txt": b""}
    found = labels_of("petimages", write(tmp_path / "pets.zip", files))
    assert found == {"PetImages/Cat/0.jpg": "cat", "PetImages/Cat/Thumbs.db": "cat", "PetImages/Dog/0.jpg": "dog", "readme[1].txt": None}


def write_cifar(path: Path, num_images: int = 20, **extra: bytes) -> tuple[Path, Pixels]:
    """A small CIFAR-10 in the format of its authors, written as Python 2 would and as newer ones do."""
    pixels = np.random.default_rng(0).integers(0, 256, (2, num_images, 3072), dtype=np.uint8)
    batches = {}
    for number, rows in enumerate(pixels):
        labels, names = [index % 10 for index in range(num_images)], [b"x.png"] * num_images
        batch = {b"batch_label": b"", b"data": rows, b"labels": labels, b"filenames": names}
        batches[f"cifar-10-batches-py/data_batch_{number + 1}"] = pickle.dumps(batch, protocol=2)
    meta = pickle.dumps({b"label_names": [b"class %d" % number for number in range(10)]}, protocol=2)
    files = {"cifar-10-batches-py/batches.meta": meta, **batches, "cifar-10-batches-py/readme.html": b"hello"}
    return write(path, files | {f"cifar-10-batches-py/{name}": data for name, data in extra.items()}), pixels


def test_cifar_images_keep_every_pixel(tmp_path: Path) -> None:
    path, pixels = write_cifar(tmp_path / "cifar10.tar.gz")
    entries = {entry.path: entry for entry in read_entries("cifar10", path)}
    assert len(entries) == 41
    assert entries["cifar-10-batches-py/readme.html"].label is None
    assert Counter(entry.label for entry in entries.values())["class 3"] == 4
    for batch, rows in enumerate(pixels, start=1):
        for number, row in enumerate(rows):
            data = entries[f"cifar-10-batches-py/data_batch_{batch}/{number:05d}.png"].data
            assert data is not None
            np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(data))), row.reshape(3, 32, 32).transpose(1, 2, 0))
    assert sum(entry.data is not None for entry in read_entries("cifar10", path, limit=20)) == 20


def test_a_batch_as_python_2_wrote_it_is_read(tmp_path: Path) -> None:
    row = np.arange(3072, dtype=np.uint16).astype(np.uint8)
    batch = (
        b"\x80\x02}(U\x04datacnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
        b"(K\x01K\x01M\x00\x0c\x86cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89"
        b"T\x00\x0c\x00\x00" + row.tobytes() + b"tbU\x06labels]K\x03au."
    )
    assert pickle.loads(batch, encoding="bytes")[b"data"].tolist() == [row.tolist()]
    path, _ = write_cifar(tmp_path / "cifar10.tar.gz", data_batch_9=batch)
    (entry,) = [entry for entry in read_entries("cifar10", path) if "data_batch_9" in entry.path]
    assert entry.label == "class 3"
    assert entry.data is not None
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(entry.data))), row.reshape(3, 32, 32).transpose(1, 2, 0))


class Hostile:
    def __init__(self, target: object, *arguments: object) -> None:
        self._call = (target, arguments)

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return self._call


def test_a_hostile_pickle_runs_nothing(tmp_path: Path) -> None:
    import os

    flag = tmp_path / "ran"
    attempts = [
        pickle.dumps(Hostile(os.system, f"touch {flag}"), protocol=2),
        pickle.dumps(Hostile(eval, f"open({str(flag)!r}, 'w')"), protocol=4),
        pickle.dumps(Hostile(os.makedirs, str(flag)), protocol=0),
        pickle.dumps(Hostile(bytes, 1 << 50), protocol=2),
        b"cnumpy.f2py.crackfortran\nmyeval\n(S'1'\ntR.",
        b"cnumpy\nload\n(S'x'\ntR.",
        b"\x80\x02}.",
        b"\x80\x02]q\xff.",
        b"\x80\x02r\xff\xff\xff\x7f.",
        b"(lp0\n" * 100_000,
        b"",
        pickle.dumps({b"data": np.array([["x"]], dtype=object), b"labels": [0]}, protocol=2),
        pickle.dumps({b"data": np.zeros((2, 3072), np.uint8), b"labels": [0, 99]}, protocol=2),
        pickle.dumps({b"data": np.zeros((2, 3071), np.uint8), b"labels": [0, 1]}, protocol=2),
    ]
    for number, data in enumerate(attempts):
        path, _ = write_cifar(tmp_path / f"{number}.tar.gz", data_batch_9=data)
        with pytest.raises(PawflowError, match="fetch it again|Fetch it again"):
            list(read_entries("cifar10", path))
        assert not flag.exists()


def test_a_file_too_large_for_memory_has_a_row(tmp_path: Path, recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {f"{label}/{number}.jpg": photo(2 * number + (label == "dog")) for number in range(60) for label in ("cat", "dog")}
    largest = max(map(len, files.values()))
    monkeypatch.setattr(item, "MAX_FILE_BYTES", largest)
    monkeypatch.setattr(archives, "MAX_FILE_BYTES", largest)
    path = write(tmp_path / "photos.zip", {**files, "cat/huge.jpg": bytes(largest + 1)})
    (tmp_path / "out").mkdir()
    fuse([Archive(Source(name="photos", provider="local"), path, {"origin": "test", "generated": False})], recipe, tmp_path / "out")
    row = Dataset(tmp_path / "out").manifest.set_index("path").loc["cat/huge.jpg"]
    assert (row["status"], "at most" in row["reason"]) == ("unreadable", True)


def test_a_group_of_the_table_stays_together(tmp_path: Path, recipe: Recipe) -> None:
    files = {f"{number}.jpg": photo(number) for number in range(160)}
    table = "path,label,group\n" + "".join(f"{number}.jpg,{'dog' if number % 2 else 'cat'},{number // 4}\n" for number in range(160))
    path = write(tmp_path / "photos.zip", {**files, "labels.csv": table.encode()})
    (tmp_path / "out").mkdir()
    source = Source(name="photos", provider="local", layout="csv")
    fuse([Archive(source, path, {"origin": "test", "generated": False})], recipe, tmp_path / "out")
    placed = Dataset(tmp_path / "out").manifest
    assert placed.groupby("group")["split"].nunique().eq(1).all()
    assert placed["group"].nunique() == 40


def test_reading_takes_no_more_memory_for_more_images(tmp_path: Path) -> None:
    image = np.random.default_rng(0).bytes(100_000)
    path = write(tmp_path / "photos.zip", {f"{label}/{number}.jpg": image for number in range(150) for label in ("cat", "dog")})
    for limit in (None, 200):
        tracemalloc.start()
        num_images = sum(entry.data is not None for entry in read_entries("class_folders", path, limit))
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert num_images == (limit or 300)
        assert peak < 3_000_000


def test_every_layout_refuses_what_is_not_its_own(tmp_path: Path) -> None:
    path = write(tmp_path / "photos.zip", {"a.txt": b""})
    for layout in LAYOUTS:
        with pytest.raises(PawflowError, match=r"holds a\.txt; expected"):
            list(read_entries(layout, path))
