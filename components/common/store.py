"""Content-addressed outputs: a step whose inputs and code are unchanged finds its result here instead of working again.

In: a step's name, everything its result depends on, and the function that does the work. Out: a folder that is either complete and
unaltered, or not there. An entry is written under a temporary name and renamed when whole, so a killed run leaves nothing that could
be taken for a result; two runs that want the same entry wait for each other through a lock that dies with its process.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import json
import os
import shutil
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from components.common.errors import PawflowError
from components.common.progress import say

_INDEX = "artifact.json"
#: In a folder into which an entry is being copied.
_DELIVERING = ".delivering"
#: Written beside an artifact's files after delivery; it belongs to one run, so it is no part of the content.
_PER_RUN_FILES = frozenset({_INDEX, _DELIVERING, "tracking.json"})

#: Files of a package that decide what it makes.
_SOURCES = frozenset({".py", ".csv", ".html", ".css"})
#: Libraries whose new version may change pixels or numbers.
_LIBRARIES = (
    *("numpy", "pillow", "opencv-python-headless", "scikit-learn", "scipy", "cleanlab"),
    *("keras", "tensorflow", "tensorflow-cpu", "torch", "onnx", "onnxruntime", "tf2onnx"),
)


@dataclass(frozen=True)
class Record:
    """What a step reports about its work; it is stored with the output, so a reused output reports the same."""

    params: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    curves: dict[str, list[float]] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    figures: list[str] = field(default_factory=list)


def home() -> Path:
    """The folder of everything that runs leave behind: `PAWFLOW_HOME`, or `.pawflow` in the current folder."""
    return Path(os.environ.get("PAWFLOW_HOME") or ".pawflow").absolute()


def hash_file(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def hash_values(values: object) -> str:
    """SHA-256 of anything that JSON can hold (paths and pydantic models as their text), independent of key order."""
    return hashlib.sha256(json.dumps(values, sort_keys=True, default=str).encode()).hexdigest()


def code_digest(*packages: str) -> str:
    """Digest of the source of whole packages, templates and tables included, so that changed code never meets results of the old one."""
    digest = hashlib.sha256()
    for package in packages:
        spec = importlib.util.find_spec(package)
        if spec is None or not spec.submodule_search_locations:
            raise ValueError(f"{package} is not a package")
        for file in sorted(path for path in Path(spec.submodule_search_locations[0]).rglob("*") if path.suffix in _SOURCES):
            digest.update(file.name.encode() + file.read_bytes())
    return digest.hexdigest()


def artifact_digest(folder: Path) -> str:
    """Digest of the contents of a delivered artifact.

    Raises:
        PawflowError: The folder is not the complete output of a step.
    """
    index = folder / _INDEX
    if not index.is_file():
        raise PawflowError(f"{folder} is not the output of a step (no {_INDEX}); pass the folder that the step before wrote with --out")
    return hash_values(json.loads(index.read_text())["files"])


def find_outputs(folders: Iterable[Path], marker: str, step: str) -> list[Path]:
    """Outputs of an earlier step, for steps that take several of one kind.

    Kubeflow passes a folder for each; a person, or `mlflow run`, whose parameters are single values, may pass the folder that holds them.

    Args:
        folders: Of the outputs, or such that hold them.
        marker: File that each output of that step has.
        step: Its name, for the message.

    Raises:
        PawflowError: A folder holds none.
    """
    found = []
    for folder in folders:
        inside = [folder] if (folder / marker).is_file() else sorted(path.parent for path in folder.glob(f"*/{marker}"))
        if not inside:
            raise PawflowError(f"{folder} holds no {marker}; expected the output folder of a {step} step, or a folder of such folders")
        found += inside
    return found


def read_record(folder: Path) -> Record:
    """The record that the step left with its output."""
    return Record(**json.loads((folder / _INDEX).read_text())["record"])


def entry_key(step: str, inputs: Mapping[str, object]) -> str:
    """Name of the entry that `produce` makes of a step's inputs, its code, and the libraries that decide numbers."""
    code = code_digest(f"components.{step}", "components.common", "serving")
    libraries = {name: _installed_version(name) for name in _LIBRARIES}
    return hash_values({"inputs": dict(inputs), "code": code, "libraries": libraries})[:32]


def _installed_version(library: str) -> str:
    try:
        return importlib.metadata.version(library)
    except importlib.metadata.PackageNotFoundError:
        # Where a step cannot import it, it decides nothing.
        return "absent"


def produce(step: str, inputs: Mapping[str, object], work: Callable[[Path], Record]) -> tuple[Path, bool]:
    """Return the entry for `inputs`, doing the work if there is none.

    Args:
        step: Package under `components` whose code the result depends on.
        inputs: Everything else that it depends on.
        work: Fills the empty folder that it is given and returns its record.

    Returns:
        The entry's folder, not to be changed, and whether it was there already.
    """
    key = entry_key(step, inputs)
    shelf = home() / "cache" / step
    shelf.mkdir(parents=True, exist_ok=True)
    entry = shelf / key
    _clear_leftovers(shelf)
    with _locked(shelf / f"{key}.lock"):
        if entry.exists():
            if _is_intact(entry):
                return entry, True
            say(f"the stored output {entry} has been damaged; making it again")
            shutil.rmtree(entry)
        partial = shelf / f"{key}.{uuid.uuid4().hex[:8]}.partial"
        partial.mkdir()
        try:
            seal(partial, step, work(partial))
            partial.rename(entry)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
    return entry, False


def seal(folder: Path, step: str, record: Record) -> None:
    """Make a folder the complete output of a step: write what it holds, and what the step reports."""
    files = {str(path.relative_to(folder)): hash_file(path) for path in _files(folder)}
    content = {"step": step, "files": files, "record": asdict(record)}
    (folder / _INDEX).write_text(json.dumps({**content, "digest": hash_values(content)}, indent=1))


def _clear_leftovers(shelf: Path) -> None:
    """Remove what killed runs left half made; what a living one works on is known by its lock."""
    for leftover in shelf.glob("*.partial"):
        with suppress(Timeout), FileLock(shelf / f"{leftover.name.split('.')[0]}.lock", timeout=0):
            shutil.rmtree(leftover, ignore_errors=True)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0.2)
    except Timeout:
        say("another run is making the same output; waiting for it")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def deliver(entry: Path, destination: Path) -> None:
    """Put an entry's files where the caller wants them, as hard links where the file system allows.

    Raises:
        PawflowError: Something else is already there.
    """
    mark = destination / _DELIVERING
    if destination.exists() and any(destination.iterdir()):
        if not (destination / _INDEX).is_file() and not mark.is_file():
            raise PawflowError(f"{destination} holds other files; pass an empty or a new folder")
        shutil.rmtree(destination)
    destination.mkdir(parents=True, exist_ok=True)
    mark.touch()
    # The index comes last: what has one is complete.
    shutil.copytree(entry, destination, ignore=_ignore_index(entry), copy_function=link_or_copy, dirs_exist_ok=True)
    link_or_copy(str(entry / _INDEX), str(destination / _INDEX))
    mark.unlink()


def _ignore_index(entry: Path) -> Callable[[str, list[str]], set[str]]:
    return lambda folder, names: {_INDEX} if Path(folder) == entry else set()


def link_or_copy(source: str, destination: str) -> None:
    """Give a file another name; a copy where the file system knows no hard links."""
    try:
        os.link(source, destination)
    except OSError:
        shutil.copy2(source, destination)


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*")) if path.is_file() and path.name not in _PER_RUN_FILES)


def _is_intact(entry: Path) -> bool:
    try:
        index = json.loads((entry / _INDEX).read_text())
        # What the step reported may be damaged like any file.
        is_whole = index.pop("digest") == hash_values(index)
        return is_whole and all(hash_file(entry / name) == digest for name, digest in index["files"].items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False
