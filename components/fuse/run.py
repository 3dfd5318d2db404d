"""Fuse the downloaded sources into one dataset."""

from __future__ import annotations

import json

from components.common import tracking
from components.common.cli import JobOption, OutOption, RawOption, RecipeOption
from components.common.dataset import Dataset
from components.common.errors import PawflowError
from components.common.progress import say
from components.common.recipe import load_recipe
from components.common.step import execute
from components.common.store import Record, find_outputs, hash_file
from components.fuse.decisions import read_decisions
from components.fuse.fuse import Archive, fuse
from components.fuse.grouping import find_memory
from components.fuse.outlook import foresee_gate


def run(*, recipe: RecipeOption, raw: RawOption, out: OutOption, job: JobOption = "") -> None:
    """Fuse the archives in the folders `raw` into the dataset `out`."""
    experiment = load_recipe(recipe)
    sources = {source.name: source for source in experiment.sources.archives}
    details = {}
    for folder in find_outputs(raw, "source.json", "download"):
        found = json.loads((folder / "source.json").read_text())
        # The same archive fetched at another time, or after other attempts, makes the same dataset.
        del found["fetched_at"], found["tried_before"]
        details[found["name"]] = (found, folder / found["file"])
    if set(details) != set(sources):
        raise PawflowError(
            f"the folders hold {sorted(details)}, but recipe {experiment.name} needs {sorted(sources)}; pass --raw for each source"
        )
    # In the recipe's order: the first of identical files is the one that is kept.
    archives = [Archive(source, details[name][1], details[name][0]) for name, source in sources.items()]

    def report(record: Record) -> None:
        fused = Dataset(out)
        tracking.log_dataset(experiment.model, "; ".join(str(archive.details["origin"]) for archive in archives), fused.digest, "training")
        if warning := foresee_gate(fused, experiment):
            say(f"warning: {warning}")

    previous, decisions = experiment.sources.previous, experiment.decisions
    execute(
        "fuse",
        experiment,
        job=job,
        inputs={
            "archives": [archive.details["sha256"] for archive in archives],
            "generated": [archive.details["generated"] for archive in archives],
            "previous": [hash_file(file) for file in find_memory(previous)] if previous else None,
            "decisions": [decision.model_dump() for decision in read_decisions(decisions)] if decisions else None,
            "sources": [source.model_dump(mode="json", include={"name", "layout", "labels"}) for source in sources.values()],
            "limits": experiment.sources.model_dump(include={"limit", "fewest_per_class"}),
            "recipe": experiment.model_dump(mode="json", include={"name", "seed", "image_size", "resize", "split", "balance"}),
        },
        work=lambda folder: fuse(archives, experiment, folder),
        out=out,
        after=report,
    )
