from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from components.common import archives
from components.common.errors import PawflowError
from pipeline.predicting import Answered, answer_photos, write_csv
from serving.predictor import Predictor
from tests.conftest import write_mean_model
from tests.serving.http import draw


def test_photos_of_files_folders_and_archives_are_answered_in_order(tmp_path: Path) -> None:
    predictor = Predictor(write_mean_model(tmp_path / "model", 8, weight=4.0))
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "bright.png").write_bytes(draw(255))
    (folder / "notes.txt").write_text("no photo")
    (tmp_path / "dark.png").write_bytes(draw(0))
    found = list(answer_photos([tmp_path / "dark.png", folder, tmp_path / "missing.png"], predictor))
    names = ["dark.png", "photos/bright.png", "photos/notes.txt", "missing.png"]
    assert [one.photo for one in found] == [str(tmp_path / name) for name in names]
    assert [one.answer and one.answer["label"] for one in found] == ["cat", "dog", None, None]
    assert "not an image" in found[2].error
    assert found[3].error == "there is no such photo, folder or archive"


def test_photos_of_one_name_are_told_apart_by_what_they_are_in(tmp_path: Path) -> None:
    predictor = Predictor(write_mean_model(tmp_path / "model", 8, weight=4.0))
    for name, value in (("first", 0), ("second", 255)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.png").write_bytes(draw(value))
        with zipfile.ZipFile(tmp_path / f"{name}.zip", "w") as archive:
            archive.writestr("1.png", draw(value))
    paths = [tmp_path / name for name in ("first", "second", "first.zip", "second.zip")]
    found = {one.photo: one.answer and one.answer["label"] for one in answer_photos(paths, predictor)}
    assert found == dict(zip((str(path / "1.png") for path in paths), ["cat", "dog", "cat", "dog"], strict=True))


def test_an_empty_folder_is_an_error_and_costs_no_other_its_answer(tmp_path: Path) -> None:
    empty, photo = tmp_path / "empty", tmp_path / "bright.png"
    empty.mkdir()
    photo.write_bytes(draw(255))
    found = list(answer_photos([empty, photo], Predictor(write_mean_model(tmp_path / "model", 8, weight=4.0))))
    assert [(Path(one.photo).name, one.error) for one in found] == [
        ("empty", "it holds no file; expected photos, or folders of them"),
        ("bright.png", ""),
    ]


def test_a_file_too_large_to_be_a_photo_costs_no_other_its_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "MAX_FILE_BYTES", 1000)
    folder = tmp_path / "photos"
    folder.mkdir()
    for name, data in (("1.png", draw(0)), ("2.mp4", bytes(1001)), ("3.png", draw(255))):
        (folder / name).write_bytes(data)
    found = list(answer_photos([folder], Predictor(write_mean_model(tmp_path / "model", 8, weight=4.0))))
    assert [one.answer and one.answer["label"] for one in found] == ["cat", None, "dog"]
    assert "at most 1,000" in found[1].error


@pytest.mark.parametrize(
    ("classes", "written"),
    [
        (("cat", "dog"), ["id,label", "7,1"]),
        (("ant", "dog"), ["path,label,probability", "test/7.jpg,dog,0.75"]),
        (("cat", "dog", "fox"), ["path,label,probability", "test/7.jpg,dog,0.75"]),
    ],
)
def test_cats_and_dogs_make_a_submission_and_others_a_table_of_paths(classes: tuple[str, ...], written: list[str], tmp_path: Path) -> None:
    answered = [Answered("test/7.jpg", {"label": "dog", "probability": 0.75}), Answered("test/8.jpg", error="damaged")]
    path = tmp_path / "new" / "out.csv"
    assert list(write_csv(answered, classes, path)) == answered
    assert path.read_text().split() == written
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("names", [("a/1.jpg", "b/1.jpg"), ("1.jpg", "1.jpg")])
def test_two_photos_of_one_id_are_no_submission(names: tuple[str, str], tmp_path: Path) -> None:
    """The second pair is one photo that was named twice."""
    answered = [Answered(name, {"label": "dog", "probability": 0.75}) for name in names]
    with pytest.raises(PawflowError, match=f"{names[0]} and {names[1]} would both be '1'"):
        list(write_csv(answered, ("cat", "dog"), tmp_path / "out.csv"))
    assert not (tmp_path / "out.csv").exists()


@pytest.mark.parametrize(("name", "reason"), [("folder", "is a folder"), ("file/out.csv", "cannot be written: ")])
def test_where_no_table_can_be_is_said_before_a_photo_is_read(name: str, reason: str, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()

    def read() -> Iterator[Answered]:
        pytest.fail("a photo was read")
        yield

    with pytest.raises(PawflowError, match=f"{name} {reason}"):
        next(write_csv(read(), ("cat", "dog"), tmp_path / name))


def test_an_interrupted_submission_is_not_there(tmp_path: Path) -> None:
    rows = write_csv([Answered("1.jpg", {"label": "dog"})] * 2, ("cat", "dog"), tmp_path / "out.csv")
    next(rows)
    rows.close()  # type: ignore[attr-defined]
    assert not (tmp_path / "out.csv").exists()
