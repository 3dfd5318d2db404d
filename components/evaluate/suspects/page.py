"""Suspects as one page, on which a person decides: each image with its label, what speaks against it, and a choice.

In: a dataset and the table of `find_suspects`. Out: one HTML file that needs no other file and no network. Its script only joins pieces
of YAML that are written here, so the file that a person downloads has the form that fuse reads, whatever an image or a class is called.
Earlier decisions are on the page as well, chosen already: the downloaded file takes the place of the one before.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from components.common.album import Album, Card, inline_thumbnail, make_thumbnail
from components.common.dataset import Dataset
from components.common.errors import PawflowError
from components.common.pages import render_page
from components.evaluate.suspects.finding import count_suspects
from components.evaluate.suspects.flagged import Flagged
from serving.images import UnreadableImageError, read_photo

PAGE = "suspects.html"

#: One decides in the picture, so it is larger than on pages that only show it.
_PICTURE_SIZE = 224
_MOST_OPEN = 200
#: With more classes there is a list to choose from instead of a button for each.
_MOST_BUTTONS = 4


@dataclass(frozen=True)
class Choice:
    """One of the answers to a question.

    Attributes:
        text: For the person.
        yaml: What follows the image in an entry of `decisions.yaml`; empty where the question stays open.
        is_chosen: Whether it is when the page opens.
    """

    text: str
    yaml: str
    is_chosen: bool


@dataclass(frozen=True)
class Question:
    """One image to decide upon.

    Attributes:
        card: The image.
        image: What names it in an entry of `decisions.yaml`.
        suspect: Its row of the table; `label` is the one that the archive gives.
        reasons: What speaks against that label, as sentences.
        choices: The answers.
        why: The end of an entry, for labels from the list of all classes.
    """

    card: Card
    image: str
    suspect: dict[str, Any]
    reasons: list[str]
    choices: list[Choice]
    why: str


def write_page(dataset: Dataset, table: pd.DataFrame, candidate: str, path: Path, flagged: Sequence[Flagged] = ()) -> None:
    """Write the page.

    Args:
        dataset: Where the images are.
        table: Output of `find_suspects`.
        candidate: Whose predictions it is made of.
        path: HTML file to write.
        flagged: Photos that people flagged as misjudged.

    Raises:
        PawflowError: The dataset was made by a version that did not keep what the page shows, or a flagged file is no photo.
    """
    album, report = Album(dataset, _PICTURE_SIZE), dataset.report
    told = {photo.sha256: photo.told for photo in flagged}
    of_image: dict[str, str] = dict(dataset.manifest.loc[dataset.manifest["sha256"].isin(told), ["id", "sha256"]].itertuples(index=False))
    notes = {identifier: told[content] for identifier, content in of_image.items()}
    earlier = {decision["id"]: decision for decision in report["decided"]}  # type: ignore[attr-defined]
    rows = _add_flagged(table, dataset.manifest, notes)
    is_open = rows["decision"].isna()
    shown = pd.concat([rows[is_open].head(_MOST_OPEN), rows[~is_open]])
    questions = [
        _ask(suspect, card, dataset.classes, candidate, earlier.get(card.id), notes.get(card.id))
        for suspect, card in zip(shown.to_dict("records"), album.cards(shown["id"]), strict=True)
    ]
    page = render_page(
        "components.evaluate.suspects",
        "page.html",
        report=report,
        candidate=candidate,
        num_images=int(dataset.manifest["split"].notna().sum()),
        counts=count_suspects(table),
        open=[question for question in questions if question.card.id not in earlier],
        decided=[question for question in questions if question.card.id in earlier],
        num_more=max(0, int(is_open.sum()) - _MOST_OPEN),
        options=[{"name": name, "yaml": f"action: relabel, label: {_quote(name)}"} for name in dataset.classes],
        has_list=len(dataset.classes) > _MOST_BUTTONS,
        strangers=[_show(photo) for photo in flagged if photo.sha256 not in of_image.values()],
    )
    path.write_text(page)


def _add_flagged(table: pd.DataFrame, manifest: pd.DataFrame, notes: dict[str, str]) -> pd.DataFrame:
    """The table, and before it the labelled images of the dataset that only a person flagged."""
    facts = manifest[manifest["id"].isin(notes) & ~manifest["id"].isin(table["id"]) & manifest["label"].notna()]
    added = facts[["id", "split", "label"]].assign(confident=False, votes=0)
    return pd.concat([added, table], ignore_index=True) if len(added) else table


def _ask(row: dict[Any, Any], card: Card, classes: list[str], candidate: str, earlier: dict[str, Any] | None, note: str | None) -> Question:
    suspect: dict[str, Any] = {name: None if pd.isna(value) else value for name, value in row.items()}
    reasons = _state_reasons(suspect, candidate, note)
    why = f"why: {_quote('looked at: ' + '; '.join(reasons))}"
    if earlier is not None:
        suspect["label"] = earlier["label_before"]
        reasons.append(f"decided earlier: {earlier['action']}, {earlier['why']}")
    return Question(card, f"id: {_quote(card.id)}", suspect, reasons, _offer(suspect, classes, earlier, why), why)


def _state_reasons(suspect: dict[str, Any], candidate: str, note: str | None) -> list[str]:
    """What is said of a label, for it or against it."""
    reasons = [note] if note else []
    label, suggested, votes = suspect["label"], suspect["suggested_label"], suspect["votes"]
    if suspect["self_confidence"] is not None:
        other = f"{suggested} at {100 * suspect['suggested_probability']:.1f} %, " if suggested else ""
        reasons.append(f"{candidate} says {other}{label} at {100 * suspect['self_confidence']:.1f} %, out of fold")
    if votes:
        reasons.append(f"public list: {votes} independent {'searches call' if votes > 1 else 'search calls'} it wrong")
    return reasons or [f"{candidate} says nothing of it, out of fold"]


def _offer(suspect: dict[str, Any], classes: list[str], earlier: dict[str, Any] | None, why: str) -> list[Choice]:
    """The answers to choose from; one that was given earlier keeps its reason."""
    targets = [name for name in classes if name != suspect["label"]]
    if len(classes) > _MOST_BUTTONS:
        wanted = {suspect["suggested_label"], earlier["label"] if earlier else None}
        targets = [name for name in targets if name in wanted]
    actions = {f"keep {suspect['label']}": "action: keep"}
    actions |= {f"is {name}": f"action: relabel, label: {_quote(name)}" for name in targets}
    actions |= {"drop": "action: drop"}
    chosen = _write_action(earlier) if earlier else None
    earlier_why = f"why: {_quote(earlier['why'])}" if earlier else why
    answers = [Choice(text, f"{action}, {earlier_why if action == chosen else why}", action == chosen) for text, action in actions.items()]
    return [Choice("open", "", not any(answer.is_chosen for answer in answers)), *answers]


def _write_action(decision: dict[str, Any]) -> str:
    label = f", label: {_quote(decision['label'])}" if decision["action"] == "relabel" else ""
    return f"action: {decision['action']}{label}"


def _quote(text: str) -> str:
    """A text as YAML writes it between double quotes, on one line."""
    return str(yaml.safe_dump(text, default_style='"', allow_unicode=True, width=math.inf)).strip()


def _show(photo: Flagged) -> dict[str, str]:
    try:
        pixels = read_photo(photo.photo.read_bytes(), _PICTURE_SIZE).pixels
    except UnreadableImageError as error:
        raise PawflowError(f"{photo.photo} is no photo ({error}); take it and its note out of the folder") from error
    return {"name": photo.photo.name, "told": photo.told, "picture": inline_thumbnail(make_thumbnail(pixels, _PICTURE_SIZE))}
