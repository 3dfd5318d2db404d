"""Photos that people flagged as misjudged on the gateway's page (`serving.gateway.flagging` keeps them), for the page of suspects."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from components.common.errors import PawflowError


@dataclass(frozen=True)
class Flagged:
    """One photo.

    Attributes:
        photo: The file.
        sha256: Of its bytes.
        label: What the person says that it shows; None for none of the classes.
        told: Who said what, as a sentence.
    """

    photo: Path
    sha256: str
    label: str | None
    told: str


def read_flagged(folder: Path) -> list[Flagged]:
    """The photos in a folder, the newest first.

    Raises:
        PawflowError: There is no such folder, or a note in it does not say what the gateway's notes say.
    """
    if not folder.is_dir():
        raise PawflowError(f"{folder} is no folder; expected the one in which the gateway keeps flagged photos (its --flagged)")
    notes = sorted((_read(note) for note in folder.glob("*.json")), key=lambda item: item[0], reverse=True)
    return [flagged for _, flagged in notes]


def _read(note: Path) -> tuple[str, Flagged]:
    try:
        said = json.loads(note.read_text())
        answer, label, when = said["answer"], said["label"], str(said["flagged_at"])
        told = (
            f"flagged by a person on {when[:10]}, who says that it is {label or 'none of the classes'}; "
            f"{said['model']} version {answer['model_version']} said {answer['label']} at {100 * answer['probability']:.1f} %"
        )
        photo = note.with_name(Path(said["photo"]).name)
    except (ValueError, KeyError, TypeError) as error:
        raise PawflowError(f"{note} is no note about a flagged photo ({error!r}); take it out of the folder") from error
    if not photo.is_file():
        raise PawflowError(f"{note} speaks of {photo.name}, which is not there; take the note out of the folder")
    return when, Flagged(photo, note.stem, label, told)
