"""Where training stands, kept so that a stopped training continues instead of starting again.

In: the key of the candidate's output, and after every epoch all that training needs to go on. Out: the newest state that is whole. The
states lie under `checkpoints/<key>` in the home folder or, with `PAWFLOW_CHECKPOINTS`, in another folder or under `s3://bucket/prefix`,
which a task that a cluster moved to another machine reaches too. A state is one `.npz` file, written under another name and renamed, or
one S3 object; either is there in full or not at all, and carries checksums. The last two are kept.
"""

from __future__ import annotations

import io
import json
import os
import zipfile
from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import boto3
import numpy as np
from boto3.exceptions import Boto3Error
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from numpy.typing import NDArray

from components.common.errors import PawflowError, UnreachableError
from components.common.progress import say
from components.common.store import home

LOCATION = "PAWFLOW_CHECKPOINTS"

_SUFFIX = ".npz"
_NUM_KEPT = 2
#: What reading or writing raises when the place fails, as against the content.
_FAILURES = (OSError, Boto3Error, BotoCoreError, ClientError)

Arrays = list[NDArray[Any]]


@dataclass
class Progress:
    """Where training stands, apart from its arrays.

    Attributes:
        phase: Name of the phase that is under way.
        epoch: Its finished epochs.
        batch: Finished batches of the epoch after those.
        num_images: Images in those batches.
        sums: Metric -> its sum over those images.
        history: Metric -> its value after each epoch of all phases.
        best: Best value of the monitored metric so far.
        best_of_phase: The same, in this phase, by which its patience is counted.
        wait: Epochs since then.
        stopped: Whether the phase has ended before its last epoch.
        reached: Whether that was because the target was reached.
        num_resumed: How often a training was continued from a checkpoint.
        seconds: Spent so far, on the wall.
        cpu_seconds: Spent so far, on all cores.
    """

    phase: str = ""
    epoch: int = 0
    batch: int = 0
    num_images: int = 0
    sums: dict[str, float] = field(default_factory=dict)
    history: dict[str, list[float]] = field(default_factory=dict)
    best: float | None = None
    best_of_phase: float | None = None
    wait: int = 0
    stopped: bool = False
    reached: bool = False
    num_resumed: int = 0
    seconds: float = 0.0
    cpu_seconds: float = 0.0

    def begin(self, phase: str) -> None:
        """Enter a phase; `best` stays, so that a phase whose every epoch is worse than one before it changes nothing."""
        self.phase, self.epoch, self.best_of_phase, self.wait, self.stopped = phase, 0, None, 0, False

    def add(self, means: dict[str, float], num_images: int) -> None:
        """Add what a part of an epoch came to on average."""
        self.num_images += num_images
        self.sums = {name: self.sums.get(name, 0.0) + mean * num_images for name, mean in means.items()}

    def finish_epoch(self, measured: dict[str, float]) -> dict[str, float]:
        """Close an epoch with what was measured at its end; returns all its metrics, which are in the history from now on."""
        values = {name: total / self.num_images for name, total in self.sums.items()} | measured
        for name, value in values.items():
            self.history.setdefault(name, []).append(value)
        self.epoch, self.batch, self.num_images, self.sums = self.epoch + 1, 0, 0, {}
        return values


@dataclass
class Checkpoint:
    """A `Progress` and its arrays by group: of the network (random states included), of the optimiser, and the best weights."""

    progress: Progress
    arrays: dict[str, Arrays]

    def to_bytes(self) -> bytes:
        """As the content of an `.npz` file."""
        stream = io.BytesIO()
        named: dict[str, Any] = {
            f"{group}/{number:05d}": array for group, arrays in self.arrays.items() for number, array in enumerate(arrays)
        }
        np.savez(stream, progress=np.array(json.dumps(asdict(self.progress))), **named)
        return stream.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes) -> Checkpoint:
        """Read what `to_bytes` wrote.

        Raises:
            ValueError: It is damaged, which the checksum of each array shows.
        """
        try:
            with np.load(io.BytesIO(data), allow_pickle=False) as file:
                arrays: dict[str, Arrays] = {}
                for name in sorted(set(file.files) - {"progress"}):
                    arrays.setdefault(name.split("/")[0], []).append(file[name])
                return cls(Progress(**json.loads(str(file["progress"]))), arrays)
        except (zipfile.BadZipFile, OSError, EOFError, KeyError, TypeError, ValueError, NotImplementedError) as error:
            raise ValueError(f"not a whole checkpoint: {type(error).__name__}") from error


class Checkpoints:
    """The checkpoints of one candidate."""

    def __init__(self, key: str) -> None:
        self._place = _open_place(os.environ.get(LOCATION) or str(home() / "checkpoints"), key)

    def load(self) -> Checkpoint | None:
        """The newest checkpoint that is whole; a damaged one is discarded with a word.

        Raises:
            UnreachableError: The place cannot be read.
        """
        try:
            for name in sorted(self._place.names(), reverse=True):
                try:
                    return Checkpoint.from_bytes(self._place.read(name))
                except ValueError as error:
                    say(f"the checkpoint {self._place}/{name} is damaged and discarded ({error})")
                    self._place.remove(name)
        except _FAILURES as error:
            raise UnreachableError(
                f"checkpoints cannot be read from {self._place} ({error}); correct {LOCATION}, or unset it to keep them in the home folder"
            ) from error
        return None

    def save(self, checkpoint: Checkpoint) -> None:
        """Keep a checkpoint. A failure is only said: training can go on without."""
        try:
            names = sorted(self._place.names())
            number = int(names[-1].removesuffix(_SUFFIX)) + 1 if names else 0
            self._place.write(f"{number:06d}{_SUFFIX}", checkpoint.to_bytes())
            for name in names[: 1 - _NUM_KEPT]:
                self._place.remove(name)
        except _FAILURES as error:
            say(f"no checkpoint was written to {self._place} ({error}); training goes on, but would not continue from here")

    def clear(self) -> None:
        """Remove them all, once the candidate is finished or has diverged."""
        try:
            for name in self._place.names():
                self._place.remove(name)
        except _FAILURES as error:
            say(f"the checkpoints in {self._place}, which nothing needs any more, could not be removed ({error})")


def require_place() -> str:
    """Write, read and remove a file where checkpoints are kept; returns where that is.

    Raises:
        PawflowError: One of these is not possible.
    """
    location = os.environ.get(LOCATION) or str(home() / "checkpoints")
    place = _open_place(location, "probe")
    try:
        place.write(f"probe{_SUFFIX}", b"probe")
        place.read(f"probe{_SUFFIX}")
        place.remove(f"probe{_SUFFIX}")
    except _FAILURES as error:
        raise PawflowError(
            f"{place} cannot be written, read and cleared ({error}); correct {LOCATION}, its keys or their rights"
        ) from error
    return location


class _Place(ABC):
    """A flat folder of small files, somewhere."""

    @abstractmethod
    def names(self) -> list[str]: ...

    @abstractmethod
    def read(self, name: str) -> bytes: ...

    @abstractmethod
    def write(self, name: str, data: bytes) -> None: ...

    @abstractmethod
    def remove(self, name: str) -> None: ...


class _Folder(_Place):
    def __init__(self, path: Path) -> None:
        self._path = path

    def __str__(self) -> str:
        return str(self._path)

    def names(self) -> list[str]:
        return [path.name for path in self._path.glob(f"*{_SUFFIX}")]

    def read(self, name: str) -> bytes:
        return (self._path / name).read_bytes()

    def write(self, name: str, data: bytes) -> None:
        self._path.mkdir(parents=True, exist_ok=True)
        partial = self._path / f"{name}.partial"
        partial.write_bytes(data)
        partial.replace(self._path / name)

    def remove(self, name: str) -> None:
        (self._path / name).unlink(missing_ok=True)
        if not any(self._path.iterdir()):
            self._path.rmdir()


class _Bucket(_Place):
    """Keys and endpoint as boto3 finds them (AWS_ENDPOINT_URL_S3 for other services than Amazon's)."""

    def __init__(self, bucket: str, prefix: str) -> None:
        self._bucket, self._prefix = bucket, prefix
        retries = {"mode": "standard", "max_attempts": 5}
        self._client = boto3.session.Session().client("s3", config=Config(retries=retries, connect_timeout=10, read_timeout=60))

    def __str__(self) -> str:
        return f"s3://{self._bucket}/{self._prefix}".rstrip("/")

    def names(self) -> list[str]:
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=self._prefix)
        keys = [str(item["Key"]) for page in pages for item in page.get("Contents", [])]
        return [key.removeprefix(self._prefix) for key in keys if key.endswith(_SUFFIX)]

    def read(self, name: str) -> bytes:
        data: bytes = self._client.get_object(Bucket=self._bucket, Key=self._prefix + name)["Body"].read()
        return data

    def write(self, name: str, data: bytes) -> None:
        self._client.upload_fileobj(io.BytesIO(data), self._bucket, self._prefix + name)

    def remove(self, name: str) -> None:
        self._client.delete_object(Bucket=self._bucket, Key=self._prefix + name)


def _open_place(location: str, key: str) -> _Place:
    scheme, separator, rest = location.partition("://")
    if not separator:
        return _Folder(Path(location).expanduser() / key)
    bucket, _, prefix = rest.partition("/")
    if scheme != "s3" or not bucket:
        raise PawflowError(f"{LOCATION} is {location!r}; expected a folder or s3://bucket/prefix")
    return _Bucket(bucket, "/".join(part for part in (prefix.strip("/"), key) if part) + "/")
