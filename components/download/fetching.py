"""A file over HTTP, to the last byte: resumed where it was cut off, checked against its SHA-256.

In: an address and a checksum. Out: the file, or a `PawflowError`. What has come so far lies in the target, and the server's name for that
version of the file (ETag or date) beside it, so a later attempt, in a later process too, asks for the rest of the same version. The
attempts are tenacity's; this module says which errors pass, and when it is hopeless.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

import requests
import tenacity
from urllib3.exceptions import HTTPError

from components.common.errors import PawflowError, state_cause
from components.common.progress import measure, say
from components.common.store import hash_file

#: Attempts in a row that bring nothing before the server is given up. Any progress starts the count anew.
MAX_STALLS = 5
#: Wait after the first of them, in seconds; it doubles with each, up to the longest.
FIRST_WAIT, LONGEST_WAIT = 0.5, 20.0
#: Seconds to wait for a connection, and for the next bytes on one.
TIMEOUT = (10.0, 60.0)

_CHUNK = 1 << 18
_BUSY = {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS}
_PASSING = (requests.ConnectionError, requests.Timeout, HTTPError)


class _PassingError(Exception):
    """The attempt failed in a way that another one may not; the message says how."""


@dataclass
class _Patience:
    """Counts the attempts in a row that made a file no longer."""

    part: Path
    longest: int = 0
    stalls: int = 0

    def wait(self, _: tenacity.RetryCallState) -> float:
        size = _size(self.part)
        self.stalls = 0 if size > self.longest else self.stalls + 1
        self.longest = max(self.longest, size)
        return min(FIRST_WAIT * 2.0 ** (self.stalls - 1), LONGEST_WAIT) if self.stalls else 0.0

    def stop(self, _: tenacity.RetryCallState) -> bool:
        return self.stalls >= MAX_STALLS


def fetch_url(url: str, sha256: str, part: Path, name: str) -> None:
    """Fetch a file, continuing with what is already in `part`.

    Args:
        url: Its address.
        sha256: What the finished file must hash to.
        part: The file to write; `<part>.version` is kept beside it.
        name: What to call it while it comes.

    Raises:
        PawflowError: The server refuses, does not answer in the end, or serves something else.
    """
    patience = _Patience(part, longest=_size(part))
    attempts = tenacity.Retrying(
        retry=tenacity.retry_if_exception_type((_PassingError, *_PASSING)),
        wait=patience.wait,
        stop=patience.stop,
        before_sleep=lambda state: say(f"cut off after {_size(part):,} bytes; going on"),
        reraise=True,
    )
    try:
        attempts(_attempt, url, sha256, part, name)
    except (_PassingError, requests.RequestException, HTTPError) as error:
        kept = f" The {_size(part):,} bytes that came are kept, and the same command goes on from there." if _size(part) else ""
        raise PawflowError(
            f"{url} cannot be fetched: {state_cause(error)}. Check the address and the connection, then run again.{kept}"
        ) from error


def _attempt(url: str, sha256: str, part: Path, name: str) -> None:
    start = _size(part)
    headers = {"Accept-Encoding": "identity", **_ask_for_rest(part, start)}
    with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as response:
        if response.status_code == HTTPStatus.PARTIAL_CONTENT and _begins_at(response, start):
            _receive(response, part, start, name)
        elif response.status_code == HTTPStatus.OK:
            _note_version(response, part)
            start = 0
            _receive(response, part, start, name)
        elif response.status_code not in (HTTPStatus.PARTIAL_CONTENT, HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE):
            _explain(response)
    # A server that is asked for what lies behind the end of the file has nothing to give: then all of it may be here.
    found, size = hash_file(part) if part.is_file() else "", _size(part)
    if found == sha256:
        return
    part.unlink(missing_ok=True)
    if start:
        raise _PassingError("what was fetched in pieces does not match its checksum")
    raise PawflowError(
        f"{url} serves another file than the recipe names: {size:,} bytes with the SHA-256 {found}, expected {sha256}. "
        "Check the address; if the file was renewed, put its new checksum into the recipe"
    )


def _ask_for_rest(part: Path, start: int) -> dict[str, str]:
    if not start:
        return {}
    version = _version_file(part)
    known = json.loads(version.read_text()) if version.is_file() else {}
    # Without a version to name, the checksum decides in the end whether the pieces fit.
    return {"Range": f"bytes={start}-"} | ({"If-Range": known["version"]} if known.get("version") else {})


def _begins_at(response: requests.Response, start: int) -> bool:
    return response.headers.get("Content-Range", "").startswith(f"bytes {start}-")


def _note_version(response: requests.Response, part: Path) -> None:
    etag = response.headers.get("ETag", "")
    # A weak ETag (W/...) speaks of the meaning of a file, not of its bytes, and must not be used for ranges.
    version = etag if etag and not etag.startswith("W/") else response.headers.get("Last-Modified", "")
    _version_file(part).write_text(json.dumps({"url": response.url, "version": version}))


def _receive(response: requests.Response, part: Path, start: int, name: str) -> None:
    length = response.headers.get("Content-Length", "")
    total = start + int(length) if length.isdigit() else None
    with part.open("ab" if start else "wb") as target, measure(f"fetching {name}", total=total, done=start) as advance:
        # What has arrived, not whole chunks of it: of those, the one in which a connection breaks would be lost.
        while chunk := response.raw.read1(_CHUNK, decode_content=False):
            advance(target.write(chunk))


def _explain(response: requests.Response) -> None:
    """Raise what a refusal means: to try again, or not."""
    status = response.status_code
    if status in _BUSY or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        raise _PassingError(f"the server answers {status} {response.reason}")
    raise PawflowError(f"{response.url} is not to be had: the server answers {status} {response.reason}; check the address in the recipe")


def _version_file(part: Path) -> Path:
    return part.with_name(f"{part.name}.version")


def _size(part: Path) -> int:
    return part.stat().st_size if part.is_file() else 0
