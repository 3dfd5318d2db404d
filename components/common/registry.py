"""The MLflow model registry, as this project uses it: versions, the aliases `champion`, `challenger` and `previous`, and their history.

Every move of the alias `champion` is written into the registry itself (`history.py`). MLflow cannot compare and set an alias at once, so
the runs of a machine take turns by a lock.
"""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from components.common import tracking_store
from components.common.database import machine_lock, make_database
from components.common.errors import PawflowError, list_known
from components.common.history import Action, Event, find_earlier, note_event, read_events, shorten, write_event
from components.common.mishaps import explain
from serving.predictor import SERVE_TAG, serves_int8

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion, RegisteredModel

CHAMPION, CHALLENGER, PREVIOUS = "champion", "challenger", "previous"

#: In the folder of every version: SHA-256 of the files that it was trained on or chosen by, one in a line.
TRAINED_ON = "trained_on.txt"
#: Names of what is kept with a version besides the model and the verdict.
ANSWERS_FILE, CERTIFICATE_FILE, CARD_PAGE = "test_answers.parquet", "certificate.json", "model_card.html"

#: Of every tag of this project, on versions as on runs.
_PREFIX = "pawflow."
_ROLLED_BACK = f"{_PREFIX}rolled_back"
#: Registries on a database server hold no longer value of a tag of a registered model, and no longer description.
LONGEST_TEXT = 5000


@dataclass(frozen=True)
class ServedModel:
    """A registered version, downloaded.

    Attributes:
        version: Its number.
        folder: Holds `model.onnx` and `model.json`; see `serving.predictor`.
        trained_on: SHA-256 of every image file that it was trained on or chosen by.
        int8: Whether its 8-bit network serves.
    """

    version: str
    folder: Path
    trained_on: frozenset[str]
    int8: bool = False


@dataclass(frozen=True)
class Entry:
    """A version as the registry lists it.

    Attributes:
        model: Name of the registered model.
        version: Its number.
        aliases: That it has now.
        created: When it was registered, UTC, ISO 8601.
        description: The model card, Markdown.
        run_id: Of the MLflow run of the register step that made it.
        tags: Those of this project without their prefix `pawflow.` (components/register/README.md has them), others as they are.
    """

    model: str
    version: str
    aliases: tuple[str, ...]
    created: str
    description: str
    tags: dict[str, str]
    run_id: str


def _client() -> MlflowClient:
    tracking_store.configure()
    make_database()
    from mlflow import MlflowClient

    return MlflowClient()


def find_version(model: str, alias: str) -> str | None:
    """Number of the version that has an alias, or None."""
    from mlflow.exceptions import MlflowException

    try:
        return str(_client().get_model_version_by_alias(model, alias).version)
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return None
        raise


def _search_models(model: str = "") -> list[RegisteredModel]:
    """All registered models, or the one of that name; unlike its client, MLflow's own function asks for every page."""
    _client()
    import mlflow

    return list(mlflow.search_registered_models(filter_string=f"name = '{model}'" if model else None))


def newest_champion() -> str:
    """Name of the registered model whose champion was made last; one of drawings, or of a smoke run, only where there is no other.

    Raises:
        PawflowError: There is no champion at all.
    """
    client = _client()
    champions = [client.get_model_version(model.name, model.aliases[CHAMPION]) for model in _search_models() if CHAMPION in model.aliases]
    if not champions:
        raise PawflowError("no model has a champion yet; train one with `make run` or `python -m pipeline run --recipe NAME`")

    def rank(version: ModelVersion) -> tuple[bool, bool, int]:
        return _read_tags(version.tags).get("generated") != "true", not version.name.endswith("-smoke"), version.creation_timestamp

    return str(max(champions, key=rank).name)


def require_champion(model: str) -> str:
    """Number of a model's champion.

    Raises:
        PawflowError: It has none, or there is no such model.
    """
    version = find_version(model, CHAMPION)
    if version is not None:
        return version
    known = [item.name for item in _search_models()]
    if model not in known:
        raise PawflowError(
            f"there is no registered model {model!r}{list_known(model, known)}; `python -m pipeline run --recipe NAME` makes one"
        )
    raise PawflowError(
        f"model {model!r} has no champion; `python -m pipeline registry list --model {model}` shows its versions and their verdicts. "
        f"To overrule one: `python -m pipeline registry promote VERSION --model {model} --force --reason TEXT`"
    )


def create_version(uri: str, model: str, form: str) -> str:
    """Make a logged model a version of `model`, without an alias yet; return its number.

    Args:
        uri: Of the logged model.
        model: Name of the registered model.
        form: `float32` or `int8`: which network serves.
    """
    tracking_store.configure()
    import mlflow

    return str(mlflow.register_model(uri, model, tags={SERVE_TAG: form}).version)


def delete_version(model: str, version: str) -> None:
    """Take a version out of the registry."""
    _client().delete_model_version(model, version)


def describe_version(model: str, version: str, description: str, tags: dict[str, str]) -> None:
    """Write a version's description and tags, which get the prefix `pawflow.`, and point `challenger` at it."""
    client = _client()
    client.update_model_version(model, version, description=description[:LONGEST_TEXT])
    for name, value in tags.items():
        client.set_model_version_tag(model, version, f"{_PREFIX}{name}", value[:LONGEST_TEXT])
    client.set_registered_model_alias(model, CHALLENGER, version)


def download_version(model: str, version: str) -> ServedModel:
    """Fetch a version's files; local ones are read where they lie.

    Raises:
        PawflowError: It does not say which images it was trained on, so it cannot be compared with anything.
    """
    folder = fetch(model, version, "artifacts")
    found = [path.parent for path in folder.rglob(TRAINED_ON)]
    if len(found) != 1:
        raise PawflowError(
            f"{model} version {version} does not carry {TRAINED_ON}, the images it was trained on, so it cannot be compared fairly; "
            f"it was not registered by this pipeline. Take its aliases away, or register under another name: set `model` in the recipe"
        )
    int8 = serves_int8(found[0], _client().get_model_version(model, version).tags.get(SERVE_TAG), f"{model} version {version}")
    return ServedModel(version, found[0], frozenset((found[0] / TRAINED_ON).read_text().split()), int8)


def fetch(model: str, version: str, name: str) -> Path:
    """A file or folder of a version.

    Raises:
        PawflowError: The version has none of that name, or it cannot be fetched.
    """
    tracking_store.configure()
    import mlflow

    try:
        return Path(mlflow.artifacts.download_artifacts(f"models:/{model}/{version}/{name}"))
    except (OSError, mlflow.exceptions.MlflowException) as error:
        if known := explain(error):
            raise known from error
        # MLflow gives a heading to each file; the reason comes last.
        reason = str(error).strip().rpartition("\n")[2][:300]
        remedy = "restore MLflow's artifacts from a backup, or register under another name: set `model` in the recipe"
        raise PawflowError(f"{model} version {version} has no {name} that can be read ({reason}); {remedy}") from error


def get_version(model: str, version: str) -> Entry:
    """The registry's entry of a version.

    Raises:
        PawflowError: There is none.
    """
    entries = {entry.version: entry for entry in list_versions(model)}
    if version not in entries:
        raise PawflowError(f"model {model!r} has no version {version}; it has {', '.join(entries) or 'none'}")
    return entries[version]


def list_versions(model: str = "") -> list[Entry]:
    """All versions of a model, or of all models, the oldest first."""
    import mlflow

    entries = []
    for registered in _search_models(model):
        for item in mlflow.search_model_versions(filter_string=f"name = '{registered.name}'"):
            aliases = tuple(alias for alias, version in registered.aliases.items() if str(version) == str(item.version))
            created = datetime.fromtimestamp(item.creation_timestamp / 1000, UTC).isoformat(timespec="seconds")
            description, tags = str(item.description or ""), _read_tags(item.tags)
            entries.append(Entry(registered.name, str(item.version), aliases, created, description, tags, str(item.run_id or "")))
    return sorted(entries, key=lambda entry: (entry.model, int(entry.version)))


def promote(model: str, version: str, expected_champion: str | None, *, reason: str, forced: bool = False) -> Event:
    """Make a version the champion; the champion so far becomes `previous`.

    Args:
        model: Name of the registered model.
        version: The champion to be.
        expected_champion: Which version it was judged against.
        reason: For the history.
        forced: Whether a rule is overruled.

    What an attempt that was killed left undone is done, and nothing is written twice if the reason is the same.

    Raises:
        PawflowError: Another run has changed the champion since the verdict was reached, so the verdict no longer speaks of it.
    """
    client = _client()
    with machine_lock():
        current = find_version(model, CHAMPION)
        if current not in (expected_champion, version):
            raise PawflowError(
                f"{model} version {version} was compared with champion {expected_champion or 'none'}, but the champion is now {current}; "
                "run the pipeline again to compare with that one"
            )
        # First, so that no move can be missing in the history, unless it repeats the last one there for the same reason.
        event = _record(model, "promoted", version, expected_champion, reason, forced=forced)
        if _ROLLED_BACK in client.get_model_version(model, version).tags:
            client.delete_model_version_tag(model, version, _ROLLED_BACK)
        if current is not None and current != version:
            client.set_registered_model_alias(model, PREVIOUS, current)
        client.set_registered_model_alias(model, CHAMPION, version)
        if find_version(model, CHALLENGER) == version:
            client.delete_registered_model_alias(model, CHALLENGER)
        return event


def roll_back(model: str, reason: str) -> Event:
    """Make the version `previous` the champion again; `previous` is then the one that it had replaced.

    So rolling back twice goes back two promotions, and never to a version that was taken away, or that is no longer there.

    Raises:
        PawflowError: There is nothing to go back to.
    """
    client = _client()
    with machine_lock():
        current, previous = find_version(model, CHAMPION), find_version(model, PREVIOUS)
        events = read_history(model)
        usable = {entry.version for entry in list_versions(model) if "rolled_back" not in entry.tags} - {current}
        if events and events[-1].action == "rolled back" and events[-1].version == current == previous:
            # An attempt that was killed has come as far as that.
            _set_previous(model, current, usable)
            return events[-1]
        target = previous if previous in usable else find_earlier(events, current, usable)
        if current is None or target is None:
            raise PawflowError(
                f"model {model!r} has no previous champion to go back to (champion: {current or 'none'}, previous: {previous or 'none'}); "
                "name a version: `python -m pipeline registry promote VERSION`"
            )
        client.set_model_version_tag(model, current, _ROLLED_BACK, shorten(reason))
        event = _record(model, "rolled back", target, current, reason)
        client.set_registered_model_alias(model, CHAMPION, target)
        _set_previous(model, target, usable - {target})
        return event


def _set_previous(model: str, champion: str, usable: Set[str]) -> None:
    client, earlier = _client(), find_earlier(read_history(model), champion, usable)
    if earlier is not None:
        client.set_registered_model_alias(model, PREVIOUS, earlier)
    else:
        client.delete_registered_model_alias(model, PREVIOUS)


def read_history(model: str) -> list[Event]:
    """Every move of the alias `champion`, the oldest first."""
    return read_events(_client().get_registered_model(model).tags)


def _record(model: str, action: Action, version: str, before: str | None, reason: str, *, forced: bool = False) -> Event:
    """Write a move into the history, unless the last one there is the same for the same reason: then an attempt at it was killed."""
    client, events = _client(), read_history(model)
    verdict = _read_tags(client.get_model_version(model, version).tags).get("verdict", "")
    event = note_event(action, version, before, reason, verdict, forced=forced)
    if events and replace(event, when=events[-1].when, who=events[-1].who, verdict=events[-1].verdict) == events[-1]:
        return events[-1]
    client.set_registered_model_tag(model, *write_event(event))
    return event


def _read_tags(tags: dict[str, str]) -> dict[str, str]:
    """Tags of a version by their names in `Entry.tags`, also of one from when they had no prefix, and the sentence was the `reason`."""
    read = {name.removeprefix(_PREFIX): value for name, value in tags.items()}
    if "promote" not in read and {"verdict", "reason"} <= read.keys():
        read |= {"promote": str(read["verdict"] == "promote").lower(), "verdict": read.pop("reason")}
    return read
