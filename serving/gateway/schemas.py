"""The shapes of what the gateway answers, for its OpenAPI document, and how each error becomes an answer."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field

from serving.admission import OverloadedError
from serving.gateway.bodies import TooLargeError, TooSlowError, WrongTypeError
from serving.gateway.flagging import FullError
from serving.gateway.fleet import NotServedError
from serving.gateway.sources import SourceError
from serving.images import UnreadableImageError
from serving.options import RequestError


class Answer(BaseModel):
    """What a model says about one photo; or only `error`, where the caller asked for that."""

    label: str | None = Field(default=None, description="the most probable class")
    probability: float | None = Field(default=None, description="of the label")
    probabilities: dict[str, float] | None = None
    not_sure: bool | None = Field(default=None, description="whether the label is too improbable, or the model sees nothing that it knows")
    model_version: str | None = None
    dataset_digest: str | None = None
    heat_map: list[list[float]] | None = Field(
        default=None,
        description="rows, top to bottom, of the square that the network saw: evidence for the label, 0 to 1; "
        "0 everywhere if there is nothing that the model knows",
    )
    error: str | None = None


class Answers(BaseModel):
    """One answer for each photo, in their order."""

    predictions: list[Answer]


class Problem(BaseModel):
    """Why there is no answer."""

    error_code: str
    message: str


class ServedVersion(BaseModel):
    """A version that an alias points to."""

    alias: str
    version: str
    created: str = Field(description="when it was registered; ISO 8601, UTC")
    precision: str
    classes: list[str]
    not_sure_below: float
    image_size: int
    resize: str = Field(description="how a photo becomes the square that the network sees: squeeze, pad or centre_crop")
    dataset_digest: str
    generated: bool = Field(description="whether it was trained on drawn images")


class ServedModel(BaseModel):
    """What is served."""

    model: str
    versions: list[ServedVersion]
    flagging: bool = Field(description="whether misjudged photos can be sent to /flag")


class ProbabilityBin(BaseModel):
    """Photos whose label was this probable."""

    at_most: float
    photos: int


class MeasureDrift(BaseModel):
    """How far one measure has moved from the photos that the version was judged on."""

    name: str
    what: str
    index: float = Field(description="population stability index")
    limit: float = Field(description="above it, the measure counts as moved: 0.25, or what chance exceeds once in a thousand times")
    moved: bool
    edges: list[float] = Field(description="upper ends of the bins but the last; a value on an edge belongs below it")
    then: list[float] = Field(description="share of the held-out photos in each bin")
    now: list[float] = Field(description="share of the recent photos in each bin")


class WatchedVersion(BaseModel):
    """What a version has answered since it was loaded."""

    alias: str
    version: str
    since: str = Field(description="when it was loaded; ISO 8601, UTC")
    photos: int
    classes: list[str] = Field(description="in the model's order, which JSON does not keep of names that are numbers")
    labels: dict[str, int] = Field(description="photos of each class")
    not_sure: int
    probabilities: list[ProbabilityBin]
    reference_photos: int | None = Field(description="held-out photos of the reference; null where the version has none that can be read")
    recent_photos: int = Field(description="photos that `measures` is about, at most `window`")
    measures: list[MeasureDrift]


class Watched(BaseModel):
    """The versions that lead."""

    model: str
    window: int = Field(description="most photos of late that are compared")
    fewest: int = Field(description="photos of late before anything is said to have moved")
    versions: list[WatchedVersion]


class Flagged(BaseModel):
    """A photo was kept."""

    sha256: str


class Health(BaseModel):
    """How the server is."""

    status: str
    problem: str = ""


class UnauthorizedError(RuntimeError):
    """The API key is missing or wrong."""


class NotReadyError(RuntimeError):
    """There is no champion to answer."""


class ForbiddenError(RuntimeError):
    """A request that another site made in somebody's browser, or for something that is switched off."""


#: Status and code of each error that has a message for the caller; the first that fits counts, so subclasses stand first.
STATUSES: dict[type[Exception], tuple[int, str]] = {
    TooLargeError: (413, "REQUEST_TOO_LARGE"),
    TooSlowError: (408, "REQUEST_TIMEOUT"),
    WrongTypeError: (415, "UNSUPPORTED_MEDIA_TYPE"),
    RequestError: (400, "BAD_REQUEST"),
    UnreadableImageError: (400, "BAD_REQUEST"),
    UnauthorizedError: (401, "UNAUTHENTICATED"),
    ForbiddenError: (403, "PERMISSION_DENIED"),
    NotServedError: (404, "RESOURCE_DOES_NOT_EXIST"),
    OverloadedError: (503, "TEMPORARILY_UNAVAILABLE"),
    NotReadyError: (503, "TEMPORARILY_UNAVAILABLE"),
    SourceError: (503, "TEMPORARILY_UNAVAILABLE"),
    TimeoutError: (503, "TEMPORARILY_UNAVAILABLE"),
    FullError: (507, "RESOURCE_EXHAUSTED"),
}

#: For the OpenAPI document: what any route may answer beside success.
PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {"model": Problem, "description": code} for status, code in sorted(set(STATUSES.values()))
}

_PHOTO = {"type": "string", "format": "binary"}

#: For the OpenAPI document, because these routes read their bodies themselves.
OPTIONS = [
    {
        "name": "top_k",
        "in": "query",
        "schema": {"type": "integer", "minimum": 0},
        "description": "most classes in `probabilities`; 0 for all",
    },
    {
        "name": "threshold",
        "in": "query",
        "schema": {"type": "number", "minimum": 0, "maximum": 1},
        "description": "probability under which the answer is `not_sure`; by default the model's own",
    },
    {"name": "heat_map", "in": "query", "schema": {"type": "boolean"}, "description": "whether to say where the evidence lies"},
    {
        "name": "on_error",
        "in": "query",
        "schema": {"type": "string", "enum": ["fail", "report"]},
        "description": "`report`: an unreadable photo gets an `error` in its row, and the others their answers",
    },
]
PHOTOS = {
    "required": True,
    "content": {
        "multipart/form-data": {
            "schema": {"type": "object", "required": ["image"], "properties": {"image": {"type": "array", "minItems": 1, "items": _PHOTO}}}
        },
        "application/octet-stream": {"schema": _PHOTO},
        "image/jpeg": {"schema": _PHOTO},
    },
}
_BASE64 = {"type": "string", "format": "byte", "description": "an encoded photo"}
_ROW = {"type": "object", "required": ["image"], "properties": {"image": _BASE64}}
_ROWS = {"type": "array", "minItems": 1, "items": _ROW}
_CELLS = {"type": "array", "minItems": 1, "items": _BASE64}
_COLUMN = {"type": "object", "required": ["image"], "properties": {"image": {"anyOf": [_CELLS, _BASE64]}}}
_SPLIT = {
    "type": "object",
    "required": ["columns", "data"],
    "properties": {
        "columns": {"type": "array", "items": {"type": "string"}, "contains": {"const": "image"}},
        "data": {"type": "array", "minItems": 1, "items": {"type": "array"}},
    },
}
_LISTS = {"anyOf": [_ROWS, _CELLS, _COLUMN]}
_PARAMS = {
    "type": ["object", "null"],
    # As text and as null too, since callers make these of whatever they have.
    "properties": {str(option["name"]): {"description": option["description"]} for option in OPTIONS},
    "additionalProperties": False,
}


def _envelope(kind: str, content: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "required": [kind], "properties": {kind: content, "params": _PARAMS}, "additionalProperties": False}


ENVELOPE = {
    "required": True,
    "content": {
        "application/json": {
            "schema": {
                "description": "as MLflow's scoring server takes them",
                "oneOf": [
                    _envelope("dataframe_split", _SPLIT),
                    _envelope("dataframe_records", _ROWS),
                    _envelope("instances", _LISTS),
                    _envelope("inputs", _LISTS),
                ],
            },
            # A picture of one pixel.
            "example": {
                "dataframe_split": {"columns": ["image"], "data": [["R0lGODdhAQABAIAAAP///////ywAAAAAAQABAAACAkQBADs="]]},
                "params": {"top_k": 3},
            },
        }
    },
}
FLAG = {
    "required": True,
    "content": {
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "required": ["image", "consent"],
                "properties": {
                    "image": _PHOTO,
                    "label": {"type": "string", "description": "what it really shows, a class; empty for something else"},
                    "version": {"type": "string", "description": "alias or version that answered; by default the champion"},
                    "consent": {"type": "string", "enum": ["yes"]},
                },
            }
        }
    },
}
