from __future__ import annotations

from pathlib import Path

import pytest

from components.common import archives
from pipeline.predicting import Answered, answer_photos, write_submission
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
    assert [Path(one.photo).name for one in found] == ["dark.png", "bright.png", "notes.txt", "missing.png"]
    assert [one.answer and one.answer["label"] for one in found] == ["cat", "dog", None, None]
    assert "not an image" in found[2].error
    assert found[3].error == "there is no such photo, folder or archive"


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


@pytest.mark.parametrize(("classes", "written"), [(("cat", "dog"), "1"), (("cat", "dog", "fox"), "dog")])
def test_the_label_is_what_the_competition_asks_for(classes: tuple[str, ...], written: str, tmp_path: Path) -> None:
    answered = [Answered("test/7.jpg", {"label": "dog"}), Answered("test/8.jpg", error="damaged")]
    assert list(write_submission(answered, classes, tmp_path / "out.csv")) == answered
    assert (tmp_path / "out.csv").read_text().split() == ["id,label", f"7,{written}"]


def test_an_interrupted_submission_is_not_there(tmp_path: Path) -> None:
    rows = write_submission([Answered("1.jpg", {"label": "dog"})] * 2, ("cat", "dog"), tmp_path / "out.csv")
    next(rows)
    rows.close()  # type: ignore[attr-defined]
    assert not (tmp_path / "out.csv").exists()
