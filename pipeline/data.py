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
    image: Annotated[str, typer.Argument(help="Id of an image, or the end of one: its file name, say, or the start of that.")],
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
    path = _place(chosen, "", out)
    write_page(chosen, path)
    typer.echo(f"wrote {path}")
    _show(path, show)


@commands.command()
def suspects(
    recipe: Annotated[str, typer.Option(help="Recipe (name, or path of a YAML file) of the run; by default the newest run.")] = "",
    flagged: Annotated[Path | None, typer.Option(help="Folder in which the gateway keeps the photos that people flagged.")] = None,
    out: Annotated[Path | None, typer.Option(help="HTML file to write; by default one under .pawflow/reports.")] = None,
    show: Annotated[bool | None, typer.Option("--open/--no-open", help="Open it in a browser; by default at a terminal only.")] = None,
) -> None:
    """Write a page of the labels in doubt, on which a person decides and which makes a decisions.yaml of it.

    Example: python -m pipeline data suspects --recipe fusion
    """
    from components.common.files import METRICS_FILE
    from pipeline.catalog import find_recipe
    from pipeline.local import COMMAND_FILE
    from pipeline.suspects import write_suspects

    files = _find_newest(MANIFEST, METRICS_FILE, recipe=find_recipe(recipe).name if recipe else "")
    if files is None:
        of_recipe, start = (f" of recipe {recipe}", f"python -m pipeline run --recipe {recipe}") if recipe else ("", "make run")
        raise PawflowError(f"no run{of_recipe} in {home() / 'runs'} has been evaluated; start one: {start}")
    chosen = Dataset(files[MANIFEST].parent)
    path = _place(chosen, "-suspects", out)
    typer.echo(write_suspects(chosen, files[METRICS_FILE].parent, flagged, path))
    # Beside the folder of the pipeline, which holds those of its tasks; a run of an older version has none.
    command = files[MANIFEST].parents[3] / COMMAND_FILE
    again = command.read_text() if command.is_file() else f"python -m pipeline run --recipe {recipe or chosen.report['recipe']}"
    typer.echo(f"next: open it, choose, download decisions.yaml, and run: {again} decisions=decisions.yaml")
    _show(path, show)


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
    found = _find_newest(MANIFEST)
    if found is None:
        raise PawflowError(
            f"no run in {home() / 'runs'} has a dataset; start one (`make run`), or pass the output folder of a fuse step with --dataset"
        )
    return Dataset(found[MANIFEST].parent)


def _place(dataset: Dataset, kind: str, out: Path | None) -> Path:
    """Where a page goes: where the person says, or beside the others."""
    path = (out or home() / "reports" / f"{dataset.report['recipe']}-{dataset.digest[:12]}{kind}.html").absolute()
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _show(path: Path, wanted: bool | None) -> None:
    if sys.stdout.isatty() if wanted is None else wanted:
        webbrowser.open(path.as_uri())


def _find_newest(*files: str, recipe: str = "") -> dict[str, Path] | None:
    """Name -> path of some files of the newest local run that has them all; None where there is no such run.

    Args:
        files: Their names.
        recipe: Name of the one whose runs count; empty for all.
    """
    # Names of runs are TIME-RECIPE-PROCESS. Files are hard links to the cache, so theirs tell nothing.
    for run in sorted((home() / "runs").glob(f"*-{recipe or '*'}-*"), reverse=True):
        found = {name: path for name in files for path in run.rglob(name)}
        if len(found) == len(files):
            return found
    return None
