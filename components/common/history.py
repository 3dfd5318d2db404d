"""The moves of the alias `champion`, as tags of the registered model: who, when, why, and what the verdict was.

In: a move, or the tags of a model. Out: a tag of its own for each move, so that none grows beyond what a tag may hold; or the moves.
"""

from __future__ import annotations

import getpass
import json
import os
from collections.abc import Mapping, Sequence, Set
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Literal

Action = Literal["promoted", "rolled back"]

_PREFIX = "pawflow.history."
_LONGEST_REASON = 1000


@dataclass(frozen=True)
class Event:
    """One move of the alias `champion`.

    Attributes:
        when: UTC, ISO 8601.
        who: `user@host`.
        action: What was done.
        version: The champion since then.
        before: The champion until then.
        reason: Why.
        verdict: The gate's sentence on `version`.
        forced: Whether a rule was overruled.
    """

    when: str
    who: str
    action: Action
    version: str
    before: str | None
    reason: str
    verdict: str
    forced: bool = False


def note_event(action: Action, version: str, before: str | None, reason: str, verdict: str, *, forced: bool = False) -> Event:
    """A move that has just been made, by whoever runs this process; see `Event` for the arguments."""
    now = datetime.now(UTC).isoformat(timespec="microseconds")
    return Event(now, _find_user(), action, version, before, shorten(reason), shorten(verdict), forced)


def write_event(event: Event) -> tuple[str, str]:
    """Name and value of its tag."""
    return f"{_PREFIX}{event.when.replace('+00:00', 'Z')}", json.dumps(asdict(event), ensure_ascii=False)


def read_events(tags: Mapping[str, str]) -> list[Event]:
    """The moves among the tags of a registered model, the oldest first."""
    # The names hold the time, so their order is that of the events.
    return [Event(**json.loads(tags[name])) for name in sorted(tags) if name.startswith(_PREFIX)]


def find_earlier(events: Sequence[Event], version: str | None, usable: Set[str]) -> str | None:
    """The last champion before `version` that is one of `usable`."""
    for event in reversed(events):
        if event.action == "promoted" and event.version == version:
            if event.before in usable:
                return event.before
            version = event.before
    return None


def shorten(text: str) -> str:
    """On one line, and so short that the JSON of an event fits into a tag whatever has to be escaped."""
    return "".join(character for character in " ".join(text.split()) if character.isprintable())[:_LONGEST_REASON]


def _find_user() -> str:
    try:
        user = os.environ.get("MLFLOW_TRACKING_USERNAME") or getpass.getuser()
    except (OSError, KeyError):
        # In a container whose user has no name.
        user = str(os.getuid())
    return f"{user}@{os.uname().nodename}"
