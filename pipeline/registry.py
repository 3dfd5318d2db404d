"""The commands of `python -m pipeline registry`: what is registered, who serves, since when and why, and how to change that.

The rules are those of the pipeline (`components.promote`); `--force --reason TEXT` overrules them, and the registry remembers both.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console as Terminal
from rich.markdown import Markdown
from rich.table import Column, Table

from components.common import registry, tracking_store
from components.common.errors import PawflowError
from components.promote.promote import announce, list_objections
from pipeline.catalog import find_recipe

commands = typer.Typer(help="Inspect registered models, promote and roll back.", no_args_is_help=True)

ModelName = Annotated[
    str, typer.Option("--model", help="Registered model; by default the recipe's, else the one whose champion is newest.")
]
RecipeName = Annotated[str, typer.Option("--recipe", help="Recipe whose model is meant.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Reason = Annotated[str, typer.Option(help="Why; it is written into the history.")]
_VERSION = "A version's number, or an alias: champion, challenger, previous."


@commands.command(name="list")
def list_(model: Annotated[str, typer.Option("--model", help="Registered model; by default all.")] = "", as_json: AsJson = False) -> None:
    """List versions, their aliases and verdicts.

    Example: python -m pipeline registry list
    """
    tracking_store.require_server()
    entries = registry.list_versions(_choose_model(model, "") if model else "")
    if as_json:
        typer.echo(json.dumps([asdict(entry) for entry in entries]))
        return
    rows = [
        (
            f"{entry.model} {entry.version}\n{entry.tags.get('candidate', '')}\n{entry.created[:16]}",
            "\n".join(entry.aliases),
            entry.tags.get("verdict", ""),
        )
        for entry in entries
    ]
    _print_table(("version, candidate,\ncreated (UTC)", "aliases", "verdict"), rows, empty="no model is registered yet: `make run`")


@commands.command()
def show(
    version: Annotated[str, typer.Argument(help=_VERSION)] = registry.CHAMPION,
    model: ModelName = "",
    recipe: RecipeName = "",
    as_json: AsJson = False,
) -> None:
    """Show the model card of a version.

    Example: python -m pipeline registry show champion --model dogs-vs-cats
    """
    entry = _find(version, _choose_model(model, recipe))
    if as_json:
        typer.echo(json.dumps(asdict(entry)))
        return
    terminal = Terminal(file=sys.stdout)
    aliases = f" ({', '.join(entry.aliases)})" if entry.aliases else ""
    terminal.print(f"[bold]{entry.model} version {entry.version}[/bold]{aliases}, registered {entry.created[:16]} UTC", highlight=False)
    terminal.print(Markdown(entry.description))
    _print_table(("tag", "value"), [(name, value) for name, value in sorted(entry.tags.items()) if name != "verdict"])


@commands.command()
def compare(
    first: Annotated[str, typer.Argument(help=_VERSION)],
    second: Annotated[str, typer.Argument(help=_VERSION)] = registry.CHAMPION,
    model: ModelName = "",
    recipe: RecipeName = "",
    as_json: AsJson = False,
) -> None:
    """Compare two versions on the test images that both answered, neither was trained on and the rule of the first judges by.

    Example: python -m pipeline registry compare 2 champion
    """
    from pipeline.comparing import compare_versions

    chosen = _choose_model(model, recipe)
    entries = _find(first, chosen), _find(second, chosen)
    if entries[0] == entries[1] and not as_json:
        typer.echo(f"both are {chosen} version {entries[0].version}, so there is nothing to compare")
        return
    result = compare_versions(*entries)
    if as_json:
        typer.echo(json.dumps(result))
        return
    rows = [(name, str(result["first"][name]), str(result["second"][name])) for name in result["first"]]
    _print_table((f"{chosen}", f"version {result['first']['version']}", f"version {result['second']['version']}"), rows)
    typer.echo(result["statement"])


@commands.command()
def promote(
    version: Annotated[str, typer.Argument(help=_VERSION)] = registry.CHALLENGER,
    model: ModelName = "",
    recipe: RecipeName = "",
    force: Annotated[bool, typer.Option("--force", help="Overrule the rules; needs --reason.")] = False,
    reason: Reason = "",
) -> None:
    """Make a version the champion, by default the challenger.

    Example: python -m pipeline registry promote 7 --force --reason "the champion fails on night photos"
    """
    entry = _find(version, _choose_model(model, recipe))
    champion = registry.find_version(entry.model, registry.CHAMPION)
    if entry.version == champion:
        raise PawflowError(f"{entry.model} version {entry.version} is the champion already")
    objections = list_objections(entry.tags, champion)
    if objections and not (force and reason.strip()):
        raise PawflowError(
            f"{entry.model} version {entry.version} is not promoted: {'; '.join(objections)}. "
            "To overrule this, give --force and --reason TEXT"
        )
    registry.promote(entry.model, entry.version, champion, reason=reason or "by hand, as its verdict allows", forced=bool(objections))
    typer.echo(announce(entry.model, entry.version, champion))


@commands.command()
def rollback(model: ModelName = "", recipe: RecipeName = "", reason: Reason = "no reason given") -> None:
    """Make the previous champion the champion again.

    Example: python -m pipeline registry rollback --reason "it takes foxes for dogs"
    """
    event = registry.roll_back(_choose_model(model, recipe), reason)
    typer.echo(f"version {event.version} is the champion again; version {event.before} was rolled back: {event.reason}")


@commands.command()
def history(model: ModelName = "", recipe: RecipeName = "", as_json: AsJson = False) -> None:
    """Tell who changed the champion, when and why.

    Example: python -m pipeline registry history --model dogs-vs-cats
    """
    chosen = _choose_model(model, recipe)
    events = registry.read_history(chosen)
    if as_json:
        typer.echo(json.dumps([asdict(event) for event in events]))
        return
    rows = [
        (
            f"{event.when[:16]}\n{event.who}",
            f"{event.action}\n{event.before or 'none'} to {event.version}" + ("\nforced" if event.forced else ""),
            event.reason,
            event.verdict,
        )
        for event in events
    ]
    if events:
        typer.echo(f"champions of {chosen}:")
    _print_table(("when (UTC), who", "what", "why", "verdict"), rows, empty=f"the champion of {chosen} was never changed")


def _choose_model(model: str, recipe: str) -> str:
    """The model that is meant.

    Raises:
        PawflowError: There is none of that name; or none was named, and none has a champion; or no server answers.
    """
    tracking_store.require_server()
    known = sorted({entry.model for entry in registry.list_versions()})
    named = model or (find_recipe(recipe).model if recipe else "")
    # A model whose first version nobody has promoted yet has no champion, but where it is alone it is meant.
    chosen = named or (known[0] if len(known) == 1 else registry.newest_champion())
    if chosen not in known:
        raise PawflowError(f"there is no registered model {chosen!r}; there are: {', '.join(known) or 'none'}")
    return chosen


def _find(version: str, model: str) -> registry.Entry:
    """A version by its number or alias.

    Raises:
        PawflowError: There is none.
    """
    if version.isdigit():
        return registry.get_version(model, version)
    number = registry.find_version(model, version)
    if number is None:
        aliases = sorted({alias for entry in registry.list_versions(model) for alias in entry.aliases})
        raise PawflowError(f"model {model!r} has no {version!r}; its aliases: {', '.join(aliases) or 'none'}; or name a version by number")
    return registry.get_version(model, number)


def _print_table(headings: tuple[str, ...], rows: list[tuple[Any, ...]], empty: str = "") -> None:
    """Print rows; sentences stand in the last columns, and what is short in the first, on lines of its own, so that 80 columns suffice."""
    if not rows:
        typer.echo(empty)
        return
    columns = (Column(heading, overflow="fold") for heading in headings)
    table = Table(*columns, box=SIMPLE_HEAD, padding=(0, 1), leading=int("\n" in str(rows[0][0])))
    for row in rows:
        table.add_row(*(str(value).replace("[", "\\[") for value in row))
    Terminal(file=sys.stdout).print(table, highlight=False)
