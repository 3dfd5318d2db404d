"""The commands of `python -m pipeline data`: what can be done with a dataset besides training on it."""

from __future__ import annotations

import json
import sys
import webbrowser
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console as Terminal

from components.common.dataset import MANIFEST, Dataset
from components.common.errors import PawflowError
from components.common.store import home

commands = typer.Typer(help="Inspect and export datasets.", no_args_is_help=True)

DatasetFolder = Annotated[
    Path | None, typer.Option("--dataset", help="Output folder of the fuse step; by default that of the newest local run.")
]


@commands.command()
def why(
    image: Annotated[str, typer.Argument(help="Id of an image, or the end of one: its file name, say.")],
    dataset: DatasetFolder = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Tell everything that is known of one image, and why it is where it is.

    Example: python -m pipeline data why cat.724.jpg
    """
    from components.fuse.explain import explain
    from pipeline.why import show_explanation

    facts = explain(_open(dataset), image)
    if as_json:
        typer.echo(json.dumps(facts))
    else:
        show_explanation(facts, Terminal(file=sys.stdout))


@commands.command()
def report(
    dataset: DatasetFolder = None,
    out: Annotated[Path | None, typer.Option(help="HTML file to write; by default one under .pawflow/reports.")] = None,
    show: Annotated[bool | None, typer.Option("--open/--no-open", help="Open it in a browser; by default at a terminal only.")] = None,
) -> None:
    """Write a page about a dataset: counts, pictures, what was left out and why, and the audit.

    Example: python -m pipeline data report
    """
    from components.fuse.report import write_page

    chosen = _open(dataset)
    path = (out or home() / "reports" / f"{chosen.report['recipe']}-{chosen.digest[:12]}.html").absolute()
    path.parent.mkdir(parents=True, exist_ok=True)
    write_page(chosen, path)
    typer.echo(f"wrote {path}")
    if sys.stdout.isatty() if show is None else show:
        webbrowser.open(path.as_uri())


@commands.command()
def export(
    dataset: Annotated[Path, typer.Argument(help="Output folder of the fuse step.")],
    out: Annotated[Path, typer.Argument(help="New or empty folder.")],
) -> None:
    """Write a dataset as folders of images, OUT/dataset/{train,test}/CLASS.

    Example: python -m pipeline data export runs/fuse/dataset folders
    """
    from pipeline.export import export_folders

    counts = export_folders(Dataset(dataset), out)
    for (split, label), number in counts.items():
        typer.echo(f"{out / 'dataset' / split / label}: {number} images")
    typer.echo("test: the original files. train, with validation: PNG files of the stored squares, since originals of these are not kept.")


def _open(folder: Path | None) -> Dataset:
    """The dataset of a folder; without one, that of the newest local run that has one.

    Raises:
        PawflowError: There is none.
    """
    if folder is not None:
        return Dataset(folder)
    runs = home() / "runs"
    # Names of runs begin with their time. Files are hard links to the cache, so theirs tell nothing.
    for run in sorted(runs.glob("*"), reverse=True):
        for manifest in run.rglob(MANIFEST):
            return Dataset(manifest.parent)
    raise PawflowError(f"no run in {runs} has a dataset; start one (`make run`), or pass the output folder of a fuse step with --dataset")
