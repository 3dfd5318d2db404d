"""Fetch one source of the recipe: provenance and archive in one folder."""

from __future__ import annotations

from typing import Annotated

import typer

from components.common.cli import JobOption, OutOption, RecipeOption
from components.common.errors import PawflowError
from components.common.recipe import load_recipe
from components.common.step import execute
from components.download.download import download, identify
from components.download.sources import Request


def run(
    *,
    recipe: RecipeOption,
    source: Annotated[str, typer.Option(help="Name of the source in the recipe.")],
    out: OutOption,
    job: JobOption = "",
) -> None:
    """Fetch `source` into `out`."""
    experiment = load_recipe(recipe)
    sources = {archive.name: archive for archive in experiment.sources.archives}
    if source not in sources:
        raise PawflowError(f"recipe {experiment.name} has no source {source!r}; it has {', '.join(sources)}")
    request = Request(sources[source], experiment.sources.root, experiment.seed)
    execute(
        "download",
        experiment,
        subject=source,
        job=job,
        inputs={"source": source, "identity": identify(request)},
        work=lambda folder: download(request, folder),
        out=out,
    )
