"""Everything about the gateway that can be set, with its limits; made from the command line once, then fixed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Settings:
    """How the gateway behaves.

    Attributes:
        api_key: What callers must present, or empty for none.
        flagged: Folder for photos that people say were misjudged; None to offer no such button.
        max_body: Bytes of one request.
        max_buffered: Bytes of all requests that are held at once, so that memory is bounded whatever comes.
        max_photos: Photos in one request.
        max_connections: Connections at a time; beyond them, those go that have been idle, incomplete or unread for the longest.
        head_seconds: Time that a connection may take to send the head of its next request, or to take a part of its answers.
        read_seconds: Time that a request may take to arrive.
        answer_seconds: Time that one photo may take, waiting included.
        poll_seconds: Time between looks at the registry.
        num_threads: Photos that are computed at once; 0 for one for each core.
        max_waiting: Requests that may wait for a thread.
        max_flagged: Photos kept in `flagged`.
        max_flagged_bytes: Bytes of all of them.
    """

    api_key: str = ""
    flagged: Path | None = None
    max_body: int = 20_000_000
    max_buffered: int = 64_000_000
    max_photos: int = 64
    max_connections: int = 900
    head_seconds: float = 20.0
    read_seconds: float = 60.0
    answer_seconds: float = 30.0
    poll_seconds: float = 10.0
    num_threads: int = 0
    max_waiting: int = 64
    max_flagged: int = 1000
    max_flagged_bytes: int = 1_000_000_000
