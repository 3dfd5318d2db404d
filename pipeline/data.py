"""The commands of `python -m pipeline data`: what can be done with a dataset besides training on it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

commands = typer.Typer(help="Inspect and export datasets.", no_args_is_help=True)


@commands.callback()
def _group() -> None:
    # With a callback, typer keeps a group of a single command a group.
    pass


@commands.command()
def export(
    dataset: Annotated[Path, typer.Argument(help="Output folder of the fuse step.")],
    out: Annotated[Path, typer.Argument(help="New or empty folder.")],
) -> None:
    """Write a dataset as folders of images, OUT/dataset/{train,test}/CLASS.

    Example: python -m pipeline data export runs/fuse/dataset folders
    """
    from components.common.dataset import Dataset
    from pipeline.export import export_folders

    counts = export_folders(Dataset(dataset), out)
    for (split, label), number in counts.items():
        typer.echo(f"{out / 'dataset' / split / label}: {number} images")
    typer.echo("test: the original files. train, with validation: PNG files of the stored squares, since originals of these are not kept.")
