"""What is known of one image, as lines for a person; `components.fuse.explain` finds it out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.console import Console as Terminal
from rich.table import Table
from rich.text import Text

_NUM_LISTED = 8


def show_explanation(facts: dict[str, Any], terminal: Terminal) -> None:
    """Print an explanation, one heading for each thing that was decided."""
    place = f"in {facts['split']['split']}" if facts["split"]["split"] else "in no split"
    label = f", as {facts['label']['label']}" if facts["label"]["label"] else ""
    terminal.print(Text(facts["id"], "bold"), Text(f"{facts['status']}, {place}{label}\n"), sep="\n", soft_wrap=True)
    table = Table.grid(padding=(0, 2))
    table.add_column(style="cyan", no_wrap=True)
    table.add_column(overflow="fold")
    for heading, text in _tell(facts):
        # Text, because file names may look like markup.
        table.add_row(heading, Text(text))
    terminal.print(table)
    terminal.print(Text(f"\nDataset {facts['dataset']['digest'][:12]} in {facts['dataset']['folder']}", "dim"), soft_wrap=True)


def _tell(facts: dict[str, Any]) -> Iterator[tuple[str, str]]:
    file, label, group, nearest = facts["file"], facts["label"], facts["group"], facts["nearest"]
    measured = f"{file['width']} x {file['height']} pixels, {file['mode']} {file['format']}, " if file["width"] else ""
    yield "file", f"{measured}{file['bytes']:,} bytes{', with EXIF' if file['has_exif'] else ''}"
    if file["sha256"]:
        yield "sha256", file["sha256"]
    if label["label"]:
        yield "label", f"{label['label']}: {label['why']}"
    if label["votes_against"]:
        undecided = "" if label["decision"] else "; no decision speaks of it"
        yield "suspect", f"independent searches that call the label of this file wrong: {label['votes_against']}{undecided}"
    if label["breed"]:
        yield "breed", label["breed"]
    yield "split", facts["split"]["why"]
    if group["name"]:
        others = _count(len(group["members"]), "other image") if group["members"] else "alone"
        yield "group", f"{others}: {group['why']}"
    yield from _list([f"{item['id']} ({item['split'] or 'no split'}): {item['why']}" for item in group["members"]])
    if facts["identical"]:
        yield "identical", _count(len(facts["identical"]), "other file") + " with the same bytes"
        yield from _list([f"{item['id']} ({item['label']}, {item['split'] or item['status']})" for item in facts["identical"]])
    if facts["near_duplicates"]:
        yield "same picture", _count(len(facts["near_duplicates"]), "near-duplicate")
        yield from _list(
            [
                f"{item['id']} ({item['label']}, {item['split'] or item['status']}): "
                f"hashes {_count(item['bits'], 'bit')} apart, pixels {item['difference']:.3f}"
                for item in facts["near_duplicates"]
            ]
        )
    elif nearest:
        yield "nearest", "no near-duplicate; the nearest perceptual hashes of 64 bits are"
        yield from _list([f"{item['id']}, {_count(item['bits'], 'bit')} apart" for item in nearest])
    for conflict in facts["conflicts"]:
        yield (
            "conflict",
            f"{conflict['kind'].replace('_', '-')}: "
            + ", ".join(f"{item['id']} is {item['label']} ({item['status']})" for item in conflict["images"][:_NUM_LISTED]),
        )
    if facts["stored"]["shard"]:
        yield "slice", f"{'un-confounded' if facts['unconfounded']['value'] else 'confounded'}: {facts['unconfounded']['why']}"
        yield "stored", f"{facts['stored']['shard']}, row {facts['stored']['row']}"


def _list(lines: list[str]) -> Iterator[tuple[str, str]]:
    yield from (("", f"- {line}") for line in lines[:_NUM_LISTED])
    if len(lines) > _NUM_LISTED:
        yield "", f"and {len(lines) - _NUM_LISTED} more (--json lists all)"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
