"""What callers send who are in a hurry, mistaken or malicious: requests that are whole, and some that never are."""

from __future__ import annotations

import base64
import io
import json
import random
import struct
import zlib
from dataclasses import dataclass

from PIL import Image


@dataclass(frozen=True)
class Request:
    """One request, and the statuses that are right for it; 503 always is."""

    path: str
    body: bytes
    content_type: str
    statuses: frozenset[int]


def _encode(image: Image.Image, file_format: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, file_format, **options)
    return stream.getvalue()


def draw(width: int, height: int, file_format: str = "JPEG", **options: object) -> bytes:
    """A picture with some texture."""
    noise = Image.frombytes("RGB", (64, 48), random.Random(0).randbytes(64 * 48 * 3))
    return _encode(noise.resize((width, height), Image.Resampling.BICUBIC), file_format, **options)


def _draw_bomb(width: int, height: int) -> bytes:
    """A PNG of a few kilobytes that says it has any number of black pixels, and has them."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    packer = zlib.compressobj(9)
    rows = b"".join(packer.compress(bytes(1 + width * 3)) for _ in range(height)) + packer.flush()
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def _form(*photos: bytes) -> tuple[bytes, str]:
    head = b'--b\r\nContent-Disposition: form-data; name="image"; filename="\xf0\x9f\x90\xb6 \xe7\x8a\xac.jpg"\r\n\r\n'
    return b"".join(head + photo + b"\r\n" for photo in photos) + b"--b--\r\n", "multipart/form-data; boundary=b"


def _envelope(*photos: bytes) -> bytes:
    return json.dumps(
        {"dataframe_split": {"columns": ["image"], "data": [[base64.b64encode(photo).decode()] for photo in photos]}}
    ).encode()


def list_requests() -> tuple[list[Request], list[Request]]:
    """Ordinary ones, which must be answered, and the others."""
    photo, good, bad = draw(500, 375, quality=90), frozenset({200}), frozenset({400, 413, 415})
    form, form_type = _form(photo)
    ordinary = [
        Request("/predict", photo, "image/jpeg", good),
        Request("/predict/challenger?heat_map=true", photo, "image/jpeg", good),
        Request("/predict?top_k=1", form, form_type, good),
        Request("/invocations", _envelope(photo), "application/json", good),
    ]
    deep = b"[" * 200_000 + b"]" * 200_000
    others = [
        Request("/predict", draw(4032, 3024, quality=95), "image/jpeg", good),
        Request("/predict", draw(4032, 3024, quality=95, progressive=True), "image/jpeg", good),
        Request("/predict", draw(3000, 2000, "PNG"), "image/png", good),
        Request("/predict", *_form(*[photo] * 30), good),
        Request("/predict", draw(10_000, 10_000, quality=20), "image/jpeg", good | bad),
        Request("/predict", _draw_bomb(10_000, 10_000), "image/png", bad),
        Request("/predict", _draw_bomb(60_000, 2_000), "image/png", bad),
        Request("/predict", draw(1000, 800)[:-2000], "image/jpeg", bad),
        Request("/predict", random.Random(1).randbytes(1_000_000), "image/jpeg", bad),
        Request("/predict", b"", "image/jpeg", bad),
        Request("/predict", b"--b--\r\n", form_type, bad),
        Request("/predict", form[: len(form) // 2], form_type, bad),
        Request("/predict", *_form(*[b"x"] * 1000), bad),
        Request("/predict", bytes(25_000_000), "image/jpeg", bad),
        Request("/predict", zlib.compress(bytes(50_000_000)), "image/jpeg", bad),
        Request("/invocations", deep, "application/json", bad),
        Request("/invocations", b'{"instances": ' + deep + b"}", "application/json", bad),
        Request("/invocations", b"\xff\xfe\x00\xd8", "application/json", bad),
        Request("/invocations", _envelope(*[b"x"] * 1000), "application/json", bad),
        Request("/invocations", b'{"instances": [' + b"1," * 1_000_000 + b"1]}", "application/json", bad),
        Request("/invocations", b'{"instances": [' + b"9" * 1_000_000 + b"]}", "application/json", bad),
        Request("/invocations", b"image\nx\n", "text/csv", bad),
    ]
    return ordinary, others


#: Beginnings after which nothing comes, or a byte now and then.
UNFINISHED = (
    b"",
    b"POST /pred",
    b"POST /predict HTTP/1.1\r\nHost: x\r\nX-Slow: ",
    b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n\xff\xd8\xff",
    b"POST /predict HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n",
    b"GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n",
)
