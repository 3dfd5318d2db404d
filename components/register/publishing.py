"""From a candidate to a version of the registered model, with everything that is known of it.

A version is created early, so that it can be started and asked as it will be served, and deleted again if it does not pass. The alias
`challenger` is set last: whoever finds a version through an alias finds it certified and complete.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from components.common import registry, tracking
from components.common.candidate import Candidate
from components.common.database import machine_lock
from components.common.dataset import Dataset
from components.common.files import CANDIDATE_FILE
from components.common.mishaps import OutageError, explain
from components.common.progress import say
from components.common.recipe import Recipe
from components.common.store import artifact_digest, read_record
from components.register.certificate import Certificate
from components.register.model_card import write_card
from components.register.packaging import keep_with_model, log_model, packed
from components.register.reference import describe_held_out
from components.register.register import Verdict
from components.register.serving_form import ServingForm


@dataclass(frozen=True)
class Registered:
    """A version without an alias.

    Attributes:
        version: Its number.
        model_id: Of the logged model that it is.
        candidate: Folder of the candidate that it was packed from.
        form: Which network serves, with its answers on the test split.
    """

    version: str
    model_id: str
    candidate: Path
    form: ServingForm


@contextmanager
def registered(candidate: Path, form: ServingForm, golden: dict[str, bytes], dataset: Dataset, recipe: Recipe) -> Iterator[Registered]:
    """Make a candidate a version for as long as the body has no objection: if it raises, the version is deleted.

    Args:
        candidate: Its folder.
        form: Which network serves, with its answers on the test split.
        golden: Photos to be asked about, as bytes, by name; the first is the example in the model's signature.
        dataset: What it was trained and judged on.
        recipe: The experiment.
    """
    manifest = dataset.manifest
    seen = frozenset(manifest.loc[manifest["split"].isin(["train", "validation"]), "sha256"])
    with packed(candidate, form.form, seen) as folder:
        describe_held_out(candidate, form, dataset).write(folder)
        logged = log_model(folder, next(iter(golden.values())), {"dataset_digest": dataset.digest})
    _delete_abandoned(recipe.model)
    version = registry.create_version(logged.uri, recipe.model, form.form)
    try:
        yield Registered(version, logged.model_id, candidate, form)
    except BaseException as error:
        # After an outage the server would be waited for as long again; the next run deletes the version.
        if not isinstance(explain(error), OutageError):
            registry.delete_version(recipe.model, version)
        raise


def _delete_abandoned(model: str) -> None:
    """Delete versions that a register step has made and left before it came to a verdict, because it was killed.

    They are known by its MLflow run, which has ended; that of a killed one is closed by the next run on the same machine.
    """
    # Two runs must not both delete one.
    with machine_lock():
        for entry in registry.list_versions(model):
            is_unfinished = "serve" in entry.tags and "verdict" not in entry.tags and not entry.aliases
            if is_unfinished and tracking.has_ended(entry.run_id):
                registry.delete_version(model, entry.version)
                say(f"{model} version {entry.version}, which a killed run left without a verdict, is deleted")


def publish(made: Registered, verdict: Verdict, certificate: Certificate, dataset: Dataset, recipe: Recipe, job: str) -> None:
    """Write everything that is known onto a version and make it the challenger.

    Args:
        made: The version.
        verdict: Goes into its card, tags and files.
        certificate: Likewise.
        dataset: What it was trained and judged on.
        recipe: The experiment.
        job: Id of the pipeline run, whose commit is noted; empty when the step is run by hand.
    """
    candidate = made.candidate
    entry = Candidate.model_validate_json((candidate / CANDIDATE_FILE).read_text())
    card = write_card(verdict, certificate, made.form.answers, dataset, entry, read_record(candidate).metrics)
    with tempfile.TemporaryDirectory(prefix="pawflow-") as name:
        folder = Path(name)
        verdict.write(folder)
        certificate.write(folder / registry.CERTIFICATE_FILE)
        made.form.answers.save(folder / registry.ANSWERS_FILE)
        (folder / registry.CARD_PAGE).write_text(card.page)
        keep_with_model(made.model_id, folder)
    tags = {
        "recipe": recipe.name,
        "candidate": verdict.candidate,
        "candidate_digest": artifact_digest(candidate),
        "dataset_digest": dataset.digest,
        "generated": str(verdict.generated).lower(),
        "champion_before": verdict.champion_before or "",
        "certificate": "holds" if certificate.holds else "does not hold",
        "git_commit": tracking.pipeline_tag(job, tracking.COMMIT_TAG),
        "promote": str(verdict.promote).lower(),
        # Last, since what has none is taken for unfinished.
        "verdict": verdict.verdict,
    }
    registry.describe_version(recipe.model, verdict.version, card.markdown, tags)
    say(f"{recipe.model} version {verdict.version} is registered as challenger")
