"""From the body of a request to photos: read it within limits, then take it apart.

In: a raw photo, a multipart form, or one of MLflow's JSON envelopes. Out: the encoded photos in their order, and for an envelope its
options. Bodies stay in memory; nothing that people send is written to disk here.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from starlette.datastructures import Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from serving.admission import OverloadedError
from serving.gateway.settings import Settings
from serving.options import Options, RequestError

_ENVELOPES = ("dataframe_split", "dataframe_records", "instances", "inputs")
#: The example that every complaint about an envelope ends with.
_EXAMPLE = '{"dataframe_split": {"columns": ["image"], "data": [["<photo as base64>"]]}}'

#: Sixty-four photos, each in a row of its own with some columns beside it, are less than a thousand.
_MOST_PARTS = 10_000

_TOO_MUCH = "too many photos are arriving at once; try again in a second"

#: A photo, or what is wrong with it.
Photo = bytes | bytearray | RequestError


class TooLargeError(RequestError):
    """More bytes or photos than one request may have."""


class TooSlowError(RequestError):
    """The request did not arrive in time."""


class WrongTypeError(RequestError):
    """The body is of a kind that is not understood."""


class BodyReader:
    """Reads bodies, and bounds how many bytes of all requests together are held.

    When much is held, bodies wait to grow, but for the one that came first: for that, room for a whole request is kept. So some always
    arrive in full, however many come at once.
    """

    def __init__(self, settings: Settings) -> None:
        """Start with nothing held."""
        self._settings = settings
        self.num_buffered = 0
        # In the order in which they came; the value says whether it waits for room.
        self._arriving: dict[int, bool] = {}
        self._room_made = asyncio.Event()

    @asynccontextmanager
    async def read(self, request: Request) -> AsyncIterator[bytearray]:
        """The whole body, which counts as held while the block runs.

        Raises:
            TooLargeError: It is larger than a request may be.
            TooSlowError: It does not arrive in time.
            OverloadedError: Other requests hold too much for too long.
        """
        body = bytearray()
        try:
            self._arriving[id(body)] = False
            try:
                async with asyncio.timeout(self._settings.read_seconds):
                    await self._collect(request, body)
            except TimeoutError:
                if self._arriving[id(body)]:
                    raise OverloadedError(_TOO_MUCH) from None
                raise TooSlowError(f"the request did not arrive in full within {self._settings.read_seconds:g} seconds") from None
            finally:
                del self._arriving[id(body)]
                self._tell_of_room()
            yield body
        finally:
            self.num_buffered -= len(body)
            self._tell_of_room()

    async def _collect(self, request: Request, body: bytearray) -> None:
        most = self._settings.max_body
        coding = request.headers.get("content-encoding", "identity")
        if coding != "identity":
            raise WrongTypeError(f"the Content-Encoding is {coding[:50]!r}; send the body as it is, since photos are compressed already")
        announced = request.headers.get("content-length", "0")
        if announced.isdecimal() and len(announced) < 20 and int(announced) > most:
            raise _too_large(int(announced), most)
        async for chunk in request.stream():
            if len(body) + len(chunk) > most:
                raise _too_large(len(body) + len(chunk), most)
            await self._wait_for_room(id(body), len(chunk))
            self.num_buffered += len(chunk)
            body += chunk

    async def _wait_for_room(self, arriving: int, num_bytes: int) -> None:
        while not self._has_room(arriving, num_bytes):
            # Whoever waits holds a piece in hand, which is not counted.
            if sum(self._arriving.values()) - self._arriving[arriving] >= self._settings.max_waiting:
                raise OverloadedError(_TOO_MUCH)
            self._arriving[arriving] = True
            await self._room_made.wait()
        self._arriving[arriving] = False

    def _has_room(self, arriving: int, num_bytes: int) -> bool:
        is_first = next(iter(self._arriving)) == arriving
        kept_free = 0 if is_first else self._settings.max_body
        return self.num_buffered + num_bytes <= self._settings.max_buffered - kept_free

    def _tell_of_room(self) -> None:
        self._room_made.set()
        self._room_made = asyncio.Event()


def _too_large(num_bytes: int, most: int) -> TooLargeError:
    return TooLargeError(f"the request has {num_bytes:,} bytes or more, and {most:,} are allowed; send a smaller photo, or fewer at once")


@dataclass(frozen=True)
class Form:
    """A multipart form: the photos of its field `image`, and its text fields."""

    photos: list[Photo]
    fields: dict[str, str]


class _InMemoryParser(MultiPartParser):
    # Starlette would write a part of more than a megabyte to a temporary file.
    spool_max_size = 1 << 40


async def parse_form(body: bytes | bytearray, headers: Headers, max_photos: int) -> Form:
    """Take a multipart form apart.

    Raises:
        RequestError: It is broken, or has a file under another name.
        TooLargeError: It has more than `max_photos` files.
    """

    async def stream() -> AsyncGenerator[bytes, None]:
        yield bytes(body)

    try:
        form = await _InMemoryParser(headers, stream(), max_files=max_photos, max_fields=20, max_part_size=100_000).parse()
    except MultiPartException as error:
        too_many = "Too many files" in error.message
        raise _too_many(max_photos) if too_many else RequestError(f"the multipart form cannot be read: {error.message[:200]}") from None
    except (ValueError, LookupError) as error:
        raise RequestError(f"the multipart form cannot be read: {str(error)[:200]}") from None
    photos: list[Photo] = []
    fields = {}
    for name, value in form.multi_items():
        if isinstance(value, UploadFile) and name == "image":
            photos.append(value.file.read())
        elif name == "image":
            raise RequestError("`image` came as text; expected the file itself, as `curl -F image=@photo.jpg` sends it")
        elif not isinstance(value, UploadFile):
            fields[name] = value
        else:
            raise RequestError(f"the form has a file named {name[:50]!r}; expected `image`, as in `curl -F image=@dog.jpg`")
    return Form(photos, fields)


def _too_many(most: int) -> TooLargeError:
    return TooLargeError(f"one request may hold {most} photos at most; send the rest in another")


def parse_envelope(body: bytes | bytearray, content_type: str, max_photos: int) -> tuple[list[Photo], Options]:
    """Take apart a request in the format of MLflow's scoring server.

    Raises:
        RequestError: It is not such a request; a single photo that cannot be read raises nothing, and stands in the list as its error.
        TooLargeError: It has more than `max_photos` rows.
        WrongTypeError: It is not JSON.
    """
    if content_type.partition(";")[0].strip().lower() != "application/json":
        raise WrongTypeError(
            f"the Content-Type is {content_type[:50]!r}; expected application/json with {_EXAMPLE}. A bare photo goes to /predict"
        )
    # What a parser makes of many small things is many times as large as they are; photos in base64 hold none of these characters.
    num_parts = sum(body.count(mark) for mark in b"[{,")
    if num_parts > _MOST_PARTS:
        raise TooLargeError(f"the JSON has {num_parts:,} lists, objects and values, and {_MOST_PARTS:,} are allowed; expected {_EXAMPLE}")
    try:
        envelope = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise RequestError(f"the body is not JSON in UTF-8 ({str(error)[:100]}); expected {_EXAMPLE}") from None
    if not isinstance(envelope, dict):
        raise RequestError(f"the JSON is a {type(envelope).__name__}; expected {_EXAMPLE}")
    kinds = [kind for kind in _ENVELOPES if kind in envelope]
    unknown = set(envelope) - {*_ENVELOPES, "params"}
    if len(kinds) != 1 or unknown:
        raise RequestError(
            f"the JSON has the keys {', '.join(sorted(envelope))[:200] or 'none'}; expected exactly one of {', '.join(_ENVELOPES)}, "
            f"and `params` if need be, as in {_EXAMPLE}"
        )
    params = {} if envelope.get("params") is None else envelope["params"]
    if not isinstance(params, dict):
        raise RequestError(f'params is a {type(params).__name__}; expected an object such as {{"top_k": 3}}')
    images = _list_images(kinds[0], envelope[kinds[0]])
    if len(images) > max_photos:
        raise _too_many(max_photos)
    return list(_decode(images)), Options.parse(params)


def _list_images(kind: str, content: Any) -> list[Any]:
    try:
        if kind == "dataframe_split":
            column = content["columns"].index("image")
            return [row[column] for row in content["data"]]
        if isinstance(content, dict):
            images = content["image"]
            return images if isinstance(images, list) else [images]
        return [item["image"] if isinstance(item, dict) else item for item in (content if isinstance(content, list) else [content])]
    except (KeyError, ValueError, TypeError, IndexError, AttributeError):
        raise RequestError(f"`{kind}` does not hold a column `image`; expected {_EXAMPLE}") from None


def _decode(images: list[Any]) -> Iterator[Photo]:
    for image in images:
        if not isinstance(image, str):
            yield RequestError(f"got {type(image).__name__}; expected the photo's bytes as base64 text")
            continue
        try:
            yield base64.b64decode(image, validate=True)
        except (binascii.Error, ValueError):
            yield RequestError("the text is not base64; expected the bytes of a photo, encoded as base64")
