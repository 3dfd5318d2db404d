"""Labels in doubt: who is found, and a page whose pieces join to what fuse reads."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from components.common.dataset import SPLITS, Dataset
from components.common.errors import PawflowError
from components.evaluate.suspects import PAGE, count_suspects, find_suspects, read_flagged, read_suspects, write_page
from components.fuse.decisions import Decision, read_decisions
from components.fuse.fuse import Archive
from tests.components.evaluate.conftest import CLASSES, EARLIER, PREFIX, doubt_everything, fuse_with, predict
from tests.components.fuse.drawing import encode, scene


class Form(HTMLParser):
    """The questions of a page: for each the image, the choices by their text, and which one is made."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.questions: list[dict[str, Any]] = []
        self._choice: str | None = None
        self.addresses: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag == "article":
            self.questions.append({"image": given["data-image"], "why": given["data-why"], "choices": {}, "chosen": ""})
        elif tag == "input":
            self._choice = given["value"]
            if "checked" in given:
                self.questions[-1]["chosen"] = given["value"]

    def handle_data(self, data: str) -> None:
        if self._choice is not None and data.strip():
            self.questions[-1]["choices"][data.strip()] = self._choice
            self._choice = None

    def write(self, folder: Path, choose: str | None = None) -> list[Decision]:
        """What fuse reads of the file that the page's script writes, with one choice for all, or as the page opens."""
        values = [question["choices"][choose] if choose else question["chosen"] for question in self.questions]
        entries = [f"- {{{question['image']}, {value}}}\n" for question, value in zip(self.questions, values, strict=True) if value]
        (folder / "decisions.yaml").write_text("".join(entries))
        return read_decisions(folder / "decisions.yaml")


def flag(folder: Path, photo: bytes, sha256: str, label: str | None) -> Path:
    """Keep a photo as the gateway does, under a SHA-256 that may be made up; returns the file."""
    folder.mkdir(exist_ok=True)
    file = folder / f"{sha256}.jpeg"
    file.write_bytes(photo)
    with (folder / "labels.csv").open("a") as table:
        if not table.tell():
            table.write("path,label,model,version,said,probability,flagged_at,consent\n")
        table.write(f"{file.name},{label or ''},tiny,3,cat,0.9150,2026-05-04T10:00:00+00:00,yes\n")
    return file


def test_planted_errors_are_found_and_ranked(dataset: Dataset) -> None:
    wrong = set(dataset.rows("train").query("source == 'dogs-vs-cats'")["id"].sample(6, random_state=0))
    table = find_suspects(dataset, predict(dataset, wrong).sample(frac=1, random_state=1))
    assert set(table.loc[table["confident"], "id"]) == wrong
    assert table["rank"].tolist() == list(range(1, len(table) + 1))
    assert table["self_confidence"].is_monotonic_increasing
    first = table.iloc[0]
    assert {first["label"], first["suggested_label"]} == {"cat", "dog"}
    assert first["suggested_probability"] == pytest.approx(1 - first["self_confidence"])
    assert count_suspects(table) == {"called_otherwise": 6, "confident": 6, "known": 0, "both": 0, "undecided": 6}


def test_a_hesitating_network_is_not_confident(dataset: Dataset) -> None:
    """Where it is usually sure, 55 % for another class is a reason to look, and no more."""
    predicted = predict(dataset, set())
    predicted.iloc[5] = predicted.iloc[5].map(lambda value: 0.45 if value > 0.5 else 0.55)
    table = find_suspects(dataset, predicted)
    assert (table["id"].tolist(), table["confident"].tolist()) == ([predicted.index[5]], [False])


def test_what_is_known_and_what_is_decided_stand_beside_it(decided: Dataset) -> None:
    suspect = f"{PREFIX}cat.4085.jpg"
    predicted = predict(decided, {f"{PREFIX}cat.{number}.jpg" for number in (3, 5)} | {f"{PREFIX}dog.44.jpg"})
    table = find_suspects(decided, predicted.drop(suspect)).set_index("id")
    # Three votes weigh more than one network, and what is decided comes last.
    assert table.index[0] == suspect
    assert set(table.index[1:3]) == {f"{PREFIX}cat.3.jpg", f"{PREFIX}cat.5.jpg"}
    assert table.iloc[3:]["decision"].to_dict() == {f"{PREFIX}dog.{number}.jpg": action for number, action in EARLIER.items()}
    assert table.at[suspect, "votes"] == 3
    assert not table.at[suspect, "confident"]
    assert table["self_confidence"].isna()[suspect], "no head said anything of it"
    assert table.at[f"{PREFIX}dog.42.jpg", "label"] == "cat"
    assert table["split"].isna()[f"{PREFIX}dog.40.jpg"]
    assert count_suspects(table) == {"called_otherwise": 3, "confident": 3, "known": 1, "both": 0, "undecided": 3}


@pytest.mark.parametrize("images", [slice(None), slice(0)], ids=["all agree", "nothing was predicted"])
def test_there_may_be_no_suspects(dataset: Dataset, images: slice, tmp_path: Path) -> None:
    table = find_suspects(dataset, predict(dataset, set())[images])
    assert table.empty
    write_page(dataset, table, "frozen", tmp_path / PAGE)
    assert "No label is in doubt" in (tmp_path / PAGE).read_text()
    table.to_csv(tmp_path / "suspects.csv", index=False)
    pd.testing.assert_frame_equal(read_suspects(tmp_path / "suspects.csv"), table)


def test_a_class_with_a_single_image_is_no_trouble(many: Dataset) -> None:
    rows = pd.concat([many.rows(split) for split in SPLITS])
    likely = np.full((len(rows), len(CLASSES)), 0.01) + 0.94 * (rows["label"].to_numpy()[:, None] == np.array(many.classes))
    predicted = pd.DataFrame(likely, columns=[f"probability_{name}" for name in many.classes], index=pd.Index(rows["id"]))
    alone = rows.groupby("label").cumcount().lt(1).to_numpy() | (rows["label"] != CLASSES[0]).to_numpy()
    assert find_suspects(many, predicted[alone]).empty


def test_the_page_contains_the_earlier_decisions_and_fuse_reads_its_file(decided: Dataset, archive: Archive, tmp_path: Path) -> None:
    table = find_suspects(decided, predict(decided, {f"{PREFIX}cat.3.jpg"}))
    write_page(decided, table, "frozen", tmp_path / PAGE)
    page = (tmp_path / PAGE).read_text()
    form = Form(page)
    assert all(address.startswith(("data:image/webp;base64,", "#")) for address in form.addresses)
    assert "http" not in page
    assert "3 votes" in page
    again = form.write(tmp_path)
    assert {decision.id: (decision.action, decision.label, decision.why) for decision in again} == {
        f"{PREFIX}dog.40.jpg": ("drop", None, "a text & no animal"),
        f"{PREFIX}dog.42.jpg": ("relabel", "cat", 'it is a "cat"'),
        f"{PREFIX}dog.44.jpg": ("keep", None, "looked twice"),
    }
    assert fuse_with(archive, tmp_path / "decisions.yaml", tmp_path).digest == decided.digest

    dropped = form.write(tmp_path, "drop")
    assert {decision.action for decision in dropped} == {"drop"}
    after = fuse_with(archive, tmp_path / "decisions.yaml", tmp_path)
    named = after.manifest.set_index("id").loc[[f"{PREFIX}cat.3.jpg", f"{PREFIX}cat.4085.jpg", f"{PREFIX}dog.42.jpg"]]
    assert set(named["status"]) == {"dropped"}
    assert named["reason"].iloc[0].startswith("decided: looked at: frozen says dog at 9")
    assert after.digest != decided.digest


def test_the_page_shows_the_200_first_that_are_open_and_all_that_are_decided(decided: Dataset, tmp_path: Path) -> None:
    table = find_suspects(decided, predict(decided, set(decided.manifest["id"])))
    is_open = table["decision"].isna()
    earlier, several = table[~is_open], pd.concat([table[is_open]] * 5)
    assert len(several) > 250
    write_page(decided, pd.concat([earlier, several], ignore_index=True), "frozen", tmp_path / PAGE)
    page = (tmp_path / PAGE).read_text()
    shown = [yaml.safe_load(question["image"])["id"] for question in Form(page).questions]
    assert shown == [*several["id"].head(200), *earlier["id"]]
    assert f"and {len(several) - 200} more in" in page


def test_names_of_any_kind_survive_the_page(many: Dataset, tmp_path: Path) -> None:
    table = doubt_everything(many)
    table.to_csv(tmp_path / "suspects.csv", index=False)
    write_page(many, read_suspects(tmp_path / "suspects.csv"), "frozen", tmp_path / PAGE)
    form = Form((tmp_path / PAGE).read_text())
    assert len(form.questions) == len(table) > 30
    assert len(form.questions[0]["choices"]) < len(CLASSES), "a list for the others"
    for question, (identifier, wanted) in zip(form.questions, table[["id", "suggested_label"]].itertuples(index=False), strict=True):
        entry = f"- {{{question['image']}, {question['choices'][f'is {wanted}']}}}\n"
        (tmp_path / "decisions.yaml").write_text(entry)
        (decision,) = read_decisions(tmp_path / "decisions.yaml")
        assert (decision.id, decision.action, decision.label) == (identifier, "relabel", wanted)


def test_flagged_photos_are_asked_about_where_they_are_in_the_dataset(decided: Dataset, archive: Archive, tmp_path: Path) -> None:
    rows = decided.manifest.set_index("id")
    flag(tmp_path / "flagged", encode(scene(7)), str(rows.at[f"{PREFIX}cat.7.jpg", "sha256"]), "dog")
    flag(tmp_path / "flagged", encode(scene(777)), "f" * 64, None)
    photos = read_flagged(tmp_path / "flagged")
    write_page(decided, find_suspects(decided, predict(decided, set())), "frozen", tmp_path / PAGE, photos)
    page = (tmp_path / PAGE).read_text()
    form = Form(page)
    assert form.questions[0]["image"] == f'id: "{PREFIX}cat.7.jpg"'
    assert "who says that it is dog; tiny version 3 said cat at 91.5 %" in page
    assert page.count("who says that it is none of the classes") == 1
    relabelled = [decision for decision in form.write(tmp_path, "drop") if decision.id == f"{PREFIX}cat.7.jpg"]
    assert relabelled[0].why.startswith("looked at: flagged by a person on 2026-05-04")


@pytest.mark.parametrize(
    ("table", "message"),
    [("path,label\na.png,cat\n", "is not as the gateway writes it"), ("photo\na.png\n", "is not as the"), (None, "holds no labels.csv")],
)
def test_a_wrong_folder_of_flagged_photos_is_explained(table: str | None, message: str, tmp_path: Path) -> None:
    folder = tmp_path / "flagged"
    if table is not None:
        folder.mkdir()
        (folder / "labels.csv").write_text(table)
    with pytest.raises(PawflowError, match=message):
        read_flagged(folder)


def test_a_row_without_its_photo_is_explained(tmp_path: Path) -> None:
    flag(tmp_path / "flagged", b"", "a" * 64, "cat").unlink()
    with pytest.raises(PawflowError, match=r"a\.jpeg, which is not there"):
        read_flagged(tmp_path / "flagged")


def test_a_flagged_file_that_is_no_photo_is_named(decided: Dataset, tmp_path: Path) -> None:
    photo = flag(tmp_path / "flagged", b"camera shy", "a" * 64, "cat")
    table = find_suspects(decided, predict(decided, set()))
    with pytest.raises(PawflowError, match=f"{photo.name} is no photo"):
        write_page(decided, table, "frozen", tmp_path / PAGE, read_flagged(tmp_path / "flagged"))
