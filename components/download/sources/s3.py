"""An archive, or all objects under a prefix, in Amazon's S3 or any service that speaks its protocol.

Where and who: the place's `endpoint`, else the environment's AWS_ENDPOINT_URL_S3; keys as boto3 finds them (AWS_ACCESS_KEY_ID, a profile, a
role). An archive comes in pieces, several at a time, and a piece that has come is not fetched again. The objects under a prefix become
one zip file.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import boto3
import tenacity
from boto3.exceptions import Boto3Error
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError, IncompleteReadError, NoCredentialsError

from components.common.archives import SUFFIXES
from components.common.errors import PawflowError
from components.common.names import check_name
from components.common.progress import measure
from components.common.recipe import Source
from components.common.store import hash_file, hash_values
from components.download.packing import pack
from components.download.shelf import keep
from components.download.sources.request import Provenance, Request

#: Transfers at a time: what it takes to fill a line on which each answer takes a tenth of a second.
PARALLEL = 8
#: Bytes of one piece: `PARALLEL` of them are in memory.
PIECE = 8 << 20

_ATTEMPTS = tenacity.Retrying(
    retry=tenacity.retry_if_exception_type((HTTPClientError, IncompleteReadError)),
    stop=tenacity.stop_after_attempt(5),
    wait=tenacity.wait_exponential_jitter(multiplier=0.5, max=20),
    reraise=True,
)

_REFUSALS = {
    "NoSuchBucket": "there is no such bucket; correct the url in the recipe",
    "NoSuchKey": "there is no such object; correct the url in the recipe (a prefix ends with a slash)",
    "404": "there is no such object; correct the url in the recipe (a prefix ends with a slash)",
    "403": "the keys do not allow it; ask the owner of the bucket for the right to list and read it, or use other keys",
    "AccessDenied": "the keys do not allow it; ask the owner of the bucket for the right to list and read it, or use other keys",
    "InvalidAccessKeyId": "the service does not know the access key; check AWS_ACCESS_KEY_ID and the endpoint",
    "SignatureDoesNotMatch": "the secret key is wrong; check AWS_SECRET_ACCESS_KEY",
}


@dataclass(frozen=True)
class _Object:
    key: str
    size: int
    etag: str


def identify(request: Request) -> dict[str, object]:
    """Name, size and ETag of the archive, or of every object under the prefix."""
    with _explained(request.source):
        return _identity(request.source, _list(request.source))


def fetch(request: Request, folder: Path) -> Provenance:
    """Fetch the archive, or pack the objects into one."""
    source = request.source
    _, key = _split(source)
    suffix = _suffix(key)
    file = f"{source.name}{suffix or '.zip'}"
    with _explained(source):
        objects = _list(source)

        def bring(part: Path) -> None:
            _fetch_archive(source, objects[0], part) if suffix else _fetch_prefix(source, objects, part)

        keep(_identity(source, objects), bring, folder / file)
    return Provenance(file, origin=str(source.url), terms="as agreed with whoever provided the bucket")


def _identity(source: Source, objects: list[_Object]) -> dict[str, object]:
    return {"url": source.url, "endpoint": _endpoint(source), "sha256": source.sha256, "objects": hash_values([asdict(o) for o in objects])}


def _endpoint(source: Source) -> str | None:
    return source.endpoint or os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")


def _client(source: Source) -> Any:
    retries = {"mode": "standard", "max_attempts": 5}
    config = Config(retries=retries, connect_timeout=10, read_timeout=60, max_pool_connections=2 * PARALLEL)
    try:
        return boto3.session.Session().client("s3", endpoint_url=_endpoint(source), config=config)
    except ValueError as error:
        raise PawflowError(f"source {source.name!r}: {error}; expected an endpoint such as https://s3.example.org") from error


def _split(source: Source) -> tuple[str, str]:
    """Bucket and key; the key of a prefix ends with a slash, so that `photos` does not take in `photos2/`."""
    scheme, _, rest = str(source.url).partition("://")
    bucket, _, key = rest.partition("/")
    if scheme != "s3" or not bucket:
        raise PawflowError(f"source {source.name!r} names {source.url!r}; expected s3://bucket/archive.zip or s3://bucket/prefix/")
    return bucket, key if _suffix(key) or not key or key.endswith("/") else f"{key}/"


def _suffix(key: str) -> str:
    return next((suffix for suffix in SUFFIXES if key.lower().endswith(suffix)), "")


def _list(source: Source) -> list[_Object]:
    bucket, key = _split(source)
    client = _client(source)
    if _suffix(key):
        head = client.head_object(Bucket=bucket, Key=key)
        return [_Object(key, head["ContentLength"], head["ETag"])]
    if source.sha256:
        raise PawflowError(f"source {source.name!r} has a sha256, but {source.url} is a prefix, which has none; leave it out")
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=key)
    found = [_Object(entry["Key"], entry["Size"], entry["ETag"]) for page in pages for entry in page.get("Contents", ())]
    objects = sorted((entry for entry in found if not entry.key.endswith("/")), key=lambda entry: entry.key)
    if not objects:
        raise PawflowError(f"there is no object under s3://{bucket}/{key}; correct the url of source {source.name!r} in the recipe")
    return objects


def _fetch_archive(source: Source, wanted: _Object, part: Path) -> None:
    """Fetch one object in pieces, each written in its place; the numbers of those that are there stand in `<part>.done`."""
    bucket, _ = _split(source)
    client, record = _client(source), part.with_name(f"{part.name}.done")
    done = set(map(int, record.read_text().split())) if record.is_file() and part.is_file() else set()
    missing = [number for number in range(-(-wanted.size // PIECE)) if number not in done]
    with part.open("r+b" if done else "w+b") as target, record.open("a" if done else "w") as finished:
        target.truncate(wanted.size)

        def bring(number: int) -> tuple[int, int]:
            start = number * PIECE
            span = f"bytes={start}-{min(start + PIECE, wanted.size) - 1}"
            answer = client.get_object(Bucket=bucket, Key=wanted.key, Range=span, IfMatch=wanted.etag)
            return number, os.pwrite(target.fileno(), answer["Body"].read(), start)

        jobs: list[Callable[[], tuple[int, int]]] = [lambda number=number: _ATTEMPTS(bring, number) for number in missing]  # type: ignore[misc]
        here = min(len(done) * PIECE, wanted.size)
        with measure(f"fetching {source.name}", total=wanted.size, done=here) as advance:
            for number, num_bytes in _in_parallel(jobs):
                advance(num_bytes)
                finished.write(f"{number}\n")
                finished.flush()
    if source.sha256 and hash_file(part) != source.sha256:
        part.unlink()
        raise PawflowError(f"{source.url} does not have the SHA-256 of the recipe, {source.sha256}; check the address and the checksum")


def _fetch_prefix(source: Source, objects: list[_Object], part: Path) -> None:
    """Fetch every object into a folder beside `part`, where a complete one is not fetched again, and pack the folder."""
    bucket, prefix = _split(source)
    client, folder = _client(source), part.with_name(f"{part.name}.objects")
    folder.mkdir(exist_ok=True)
    config = TransferConfig(multipart_threshold=PIECE, multipart_chunksize=PIECE, max_concurrency=2)
    files = [(entry, entry.key.removeprefix(prefix), folder / f"{number:08d}") for number, entry in enumerate(objects)]
    for _, name, _ in files:
        check_name(name, str(source.url))

    def bring(entry: _Object, path: Path) -> int:
        # Both ways write under another name and rename, so what has the name is complete.
        if path.is_file():
            return entry.size
        if entry.size > PIECE:
            client.download_file(bucket, entry.key, str(path), Config=config)
        else:
            partial = path.with_suffix(".part")
            partial.write_bytes(_ATTEMPTS(lambda: client.get_object(Bucket=bucket, Key=entry.key, IfMatch=entry.etag)["Body"].read()))
            partial.rename(path)
        return entry.size

    jobs: list[Callable[[], int]] = [lambda entry=entry, path=path: bring(entry, path) for entry, _, path in files]  # type: ignore[misc]
    with measure(f"fetching {len(files):,} objects of {source.name}", total=sum(entry.size for entry in objects)) as advance:
        for num_bytes in _in_parallel(jobs):
            advance(num_bytes)
    pack([(name, path) for _, name, path in files], part)


def _in_parallel(jobs: Iterable[Callable[[], Any]]) -> Iterator[Any]:
    """Yield results as they come; the first error ends it."""
    with ThreadPoolExecutor(PARALLEL) as pool:
        try:
            for future in as_completed([pool.submit(job) for job in jobs]):
                yield future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


@contextmanager
def _explained(source: Source) -> Iterator[None]:
    where = f"{source.url} at {_endpoint(source) or 'Amazon S3'}"
    try:
        yield
    except NoCredentialsError as error:
        raise PawflowError(f"{where} needs keys, and none were found; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY") from error
    except ClientError as error:
        code = str(error.response.get("Error", {}).get("Code", "unknown"))
        raise PawflowError(f"{where} is not to be had ({code}): {_REFUSALS.get(code, 'the service says ' + str(error))}") from error
    except (BotoCoreError, Boto3Error) as error:
        raise PawflowError(f"{where} does not answer ({error}); check the endpoint and the connection, then run again") from error
