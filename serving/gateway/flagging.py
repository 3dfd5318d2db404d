"""Photos that people say were misjudged, kept with their consent for whoever labels the data of the next run.

In: an encoded photo, what it really shows, and the answer that it got. Out, in one folder: the photo as it came, under its SHA-256,
and a JSON file of the same name beside it.
"""

from __future__ import annotations

import hashlib
import json
import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from serving.images import read_photo
from serving.options import RequestError
from serving.predictor import MAX_DECODING_MEMORY


class FullError(RuntimeError):
    """As many photos are kept as may be."""


@dataclass(frozen=True)
class Complaint:
    """What somebody says about an answer.

    Attributes:
        label: What the photo really shows, a class of the model; None for something else.
        model: The registered model that answered.
        answer: Its answer, see `Predictor.predict`.
    """

    label: str | None
    model: str
    answer: dict[str, Any]


class FlaggedPhotos:
    """The folder of flagged photos; at most `max_photos` are kept."""

    def __init__(self, folder: Path, max_photos: int) -> None:
        """Use `folder`, which is made when the first photo comes."""
        self._folder = folder
        self._max_photos = max_photos
        self._lock = threading.Lock()

    def keep(self, data: bytes, complaint: Complaint) -> str:
        """Store a photo; the same one again replaces what was said about it before.

        Returns:
            The photo's SHA-256.

        Raises:
            UnreadableImageError: The bytes are no photo.
            FullError: The folder is full.
        """
        file_format = read_photo(data, 32, max_memory=MAX_DECODING_MEMORY).format
        digest = hashlib.sha256(data).hexdigest()
        photo = self._folder / f"{digest}.{file_format.lower()}"
        note = {
            "photo": photo.name,
            "label": complaint.label,
            "model": complaint.model,
            "answer": complaint.answer,
            "flagged_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "consent": True,
        }
        with self._lock:
            self._folder.mkdir(parents=True, exist_ok=True)
            if not photo.exists() and sum(1 for _ in self._folder.glob("*.json")) >= self._max_photos:
                raise FullError(f"{self._max_photos} photos are kept already, and nobody has looked at them yet; nothing was stored")
            _write(photo, data)
            _write(photo.with_suffix(".json"), json.dumps(note, indent=1).encode())
        return digest


def _write(path: Path, data: bytes) -> None:
    scratch = path.with_name(f".{path.name}")
    scratch.write_bytes(data)
    scratch.rename(path)


def read_complaint(fields: dict[str, str], classes: tuple[str, ...]) -> str | None:
    """The label that a form says is right: a class, or None for "something else".

    Raises:
        RequestError: Consent is missing, or the label is none of the classes.
    """
    if fields.get("consent") != "yes":
        raise RequestError("the photo is kept only with consent; expected the field consent=yes")
    label = fields.get("label", "")
    if label and label not in classes:
        raise RequestError(f"label is {label[:50]!r}; expected one of {', '.join(classes)}, or nothing for something else")
    return label or None
