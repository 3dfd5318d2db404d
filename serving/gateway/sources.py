"""Where the gateway's models come from: an MLflow registry, or folders on disk.

In: the name of a registered model and the registry's address, or model folders. Out: aliases, and loaded versions.
"""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from serving.drift import REFERENCE_FILE, Reference
from serving.gateway.tally import Tally
from serving.predictor import CARD_FILE, INT8_FILE, MAX_DECODING_MEMORY, MODEL_FILE, SERVE_TAG, Predictor, serves_int8

CHAMPION, CHALLENGER = "champion", "challenger"


class SourceError(RuntimeError):
    """The registry does not answer, or what it holds cannot be served; the message is for callers.

    Attributes:
        detail: For the log: addresses and paths, which are nobody's business.
    """

    def __init__(self, message: str, detail: str = "") -> None:
        """See the attributes."""
        super().__init__(message)
        self.detail = detail

    def explain(self) -> str:
        """The message, with the detail."""
        return f"{self}: {self.detail}" if self.detail else str(self)


class UnknownVersionError(LookupError):
    """There is no such version."""


@dataclass(frozen=True)
class Version:
    """One version of a model, loaded.

    Attributes:
        number: As the registry counts; of a folder, the start of the SHA-256 of what is served from it.
        created: When it was registered, ISO 8601, UTC.
        precision: `float32` or `int8`.
        predictor: Answers.
        tally: Counts what it answers; new whenever the version is loaded.
    """

    number: str
    created: str
    precision: str
    predictor: Predictor
    tally: Tally


class Source(Protocol):
    """What the gateway needs to know of a place of models."""

    model: str

    def read_aliases(self) -> dict[str, str]:
        """Alias -> version number, as of now. Raises `SourceError`."""

    def load(self, number: str) -> Version:
        """Fetch and load a version. Raises `UnknownVersionError` or `SourceError`."""


class FolderSource:
    """Model folders on disk; nothing in them is expected to change."""

    def __init__(self, folders: dict[str, Path], *, int8: bool = False) -> None:
        """Take folders by alias; `int8` chooses their 8-bit networks."""
        for folder in folders.values():
            if not (folder / MODEL_FILE).is_file() or not (folder / CARD_FILE).is_file():
                raise SourceError(f"{folder} is no model folder: expected {MODEL_FILE} and {CARD_FILE} in it")
            if int8 and not (folder / INT8_FILE).is_file():
                raise SourceError(f"{folder} has no 8-bit network ({INT8_FILE}); leave out --int8")
        self.model = next(iter(folders.values())).absolute().name
        self._int8 = int8
        self._aliases = {alias: _digest(folder, int8=int8)[:12] for alias, folder in folders.items()}
        self._folders = {self._aliases[alias]: folder for alias, folder in folders.items()}

    def read_aliases(self) -> dict[str, str]:
        """See `Source`."""
        return dict(self._aliases)

    def load(self, number: str) -> Version:
        """See `Source`."""
        if number not in self._folders:
            raise UnknownVersionError(number)
        folder = self._folders[number]
        try:
            return _load(folder, number, (folder / MODEL_FILE).stat().st_mtime, int8=self._int8)
        except Exception as error:
            raise SourceError(f"{self.model} version {number} cannot be served", f"{folder}: {error}") from error


class RegistrySource:
    """A registered model in MLflow: over HTTP with `mlflow-skinny`; a database needs all of `mlflow`."""

    def __init__(self, model: str = "") -> None:
        """Open the registry at `MLFLOW_TRACKING_URI`; without a name, the one model there that has a champion is meant.

        Raises:
            SourceError: The registry does not answer, or the name is missing and needed.
        """
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
        os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
        # Through the server, which is known to be reached, and not from the store behind it.
        os.environ.setdefault("MLFLOW_ENABLE_PROXY_MULTIPART_DOWNLOAD", "false")
        # MLflow's own patience is minutes; the gateway asks again soon anyway.
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
        try:
            import mlflow

            self._client = mlflow.MlflowClient()
            self.model = model or self._find_model()
        except SourceError:
            raise
        except Exception as error:
            raise _unreachable(error) from error

    def _find_model(self) -> str:
        import mlflow

        # Unlike its client, MLflow's own function asks for every page.
        models = [model for model in mlflow.search_registered_models() if CHAMPION in model.aliases]
        if len(models) != 1:
            names = ", ".join(sorted(model.name for model in models)) or "none"
            raise SourceError(f"say which model to serve with --model; models with a champion: {names}")
        return str(models[0].name)

    def read_aliases(self) -> dict[str, str]:
        """See `Source`."""
        try:
            return {alias: str(number) for alias, number in self._client.get_registered_model(self.model).aliases.items()}
        except Exception as error:
            raise _unreachable(error) from error

    def load(self, number: str) -> Version:
        """See `Source`."""
        from mlflow.artifacts import download_artifacts
        from mlflow.exceptions import MlflowException

        try:
            entry = self._client.get_model_version(self.model, number)
        except MlflowException as error:
            if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                raise UnknownVersionError(number) from None
            raise _unreachable(error) from error
        if str(entry.version) != number:
            # A registry takes 01 for 1 too, but a version has one name.
            raise UnknownVersionError(number)
        try:
            with tempfile.TemporaryDirectory(prefix="pawflow-") as scratch:
                root = Path(download_artifacts(f"models:/{self.model}/{number}", dst_path=scratch))
                (card,) = root.rglob(CARD_FILE)
                int8 = serves_int8(card.parent, entry.tags.get(SERVE_TAG), f"{self.model} version {number}")
                return _load(card.parent, number, entry.creation_timestamp / 1000, int8=int8)
        except Exception as error:
            raise SourceError(f"{self.model} version {number} cannot be served", str(error)) from error


def _unreachable(error: Exception) -> SourceError:
    address = os.environ.get("MLFLOW_TRACKING_URI", "")
    # A user's name and password may stand in it.
    shown, told = (re.sub(r"//[^/@]*@", "//", text) for text in (address, str(error)))
    return SourceError("the registry does not answer as it should", f"MLFLOW_TRACKING_URI={shown!r}: {told}")


def _load(folder: Path, number: str, created: float, *, int8: bool) -> Version:
    predictor = Predictor(folder, number, int8=int8, max_memory=MAX_DECODING_MEMORY)
    moment = datetime.fromtimestamp(created, UTC).isoformat(timespec="seconds")
    tally = Tally(predictor.card.classes, Reference.read(folder))
    return Version(number, moment, "int8" if int8 else "float32", predictor, tally)


def _digest(folder: Path, *, int8: bool) -> str:
    """SHA-256 of all that `_load` reads, one file after the other."""
    digest = hashlib.sha256()
    for name in (CARD_FILE, INT8_FILE if int8 else MODEL_FILE, REFERENCE_FILE):
        if (folder / name).is_file():
            with (folder / name).open("rb") as stream:
                hashlib.file_digest(stream, lambda: digest)
    return digest.hexdigest()
