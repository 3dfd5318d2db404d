"""The end of a run, for the person who waited: candidates, verdict, what to type next."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console as Terminal
from rich.markup import escape
from rich.table import Table

from components.common.files import CANDIDATE_FILE, METRICS_FILE, VERDICT_FILE
from components.common.metrics import state_count
from components.common.recipe import Recipe
from components.common.store import read_record
from pipeline.local import LocalRun


def describe(run: LocalRun) -> dict[str, Any]:
    """What came of a run, for scripts: `model`, `version`, `candidate`, `promote`, `verdict` as in `verdict.json`; `folder`, `seconds`."""
    verdict = _read(run.folder, VERDICT_FILE)
    said = {name: verdict[name] for name in ("model", "version", "candidate", "promote", "verdict")}
    return {**said, "folder": str(run.folder), "seconds": round(run.seconds, 1)}


def show_summary(run: LocalRun, recipe: Recipe, terminal: Terminal, *, quiet: bool = False) -> None:
    """Print the candidates, the verdict, where to read more and the next commands; if `quiet`, the verdict alone."""
    verdict = _read(run.folder, VERDICT_FILE)
    if quiet:
        _show_verdict(verdict, terminal)
        return
    evaluation = _read(run.folder, METRICS_FILE)
    winner = verdict["candidate"]
    registered = f"registered as {verdict['model']} version {verdict['version']}"
    terminal.print()
    terminal.print(_tabulate(run, evaluation, winner, recipe))
    for name, reason in evaluation["failed"].items():
        terminal.print(f"[bold red]{escape(name)} failed:[/bold red] {escape(reason)}", highlight=False, soft_wrap=True)
    within = f", the fastest within {recipe.select_margin:g} of the best" if recipe.select_policy != "best" else ""
    terminal.print(f"* winner by {recipe.select} on the validation split{within}, {registered}", style="dim", soft_wrap=True)
    legend = "95 %: interval of the accuracy. ms: one photo on one thread, decoding apart. CPU s: training, all cores."
    terminal.print(legend, style="dim", soft_wrap=True)
    terminal.print(f"\n[bold]Headline:[/bold] {escape(_state_headline(evaluation, winner))}", highlight=False, soft_wrap=True)
    terminal.print()
    _show_verdict(verdict, terminal)
    terminal.print(f"Whole run: {run.seconds:.0f} s\n", highlight=False)
    for name, path in _list_pages(run.folder).items():
        terminal.print(f"  {name:12} {escape(path.absolute().as_uri())}", highlight=False, soft_wrap=True)
    terminal.print()
    for command, purpose in list_next_commands(verdict).items():
        terminal.print(f"  [cyan]{command}[/cyan]", f"[dim]# {purpose}[/dim]", highlight=False, soft_wrap=True)


def _tabulate(run: LocalRun, evaluation: dict[str, Any], winner: str, recipe: Recipe) -> Table:
    """A row for each candidate that was judged, the best on validation first, the winner's in bold."""
    records = {_name(path): read_record(path.parent).metrics for path in run.folder.rglob(CANDIDATE_FILE)}
    accuracy = evaluation["candidates"][winner]["test"]["accuracy"]
    images = f"{accuracy['n']} held-out {'generated' if evaluation['generated'] else ''} images".replace("  ", " ")

    table = _begin_table(f"{recipe.name}: test split, {images}")
    for name, result in evaluation["candidates"].items():
        test = result["test"]
        table.add_row(
            f"{name} *" if name == winner else name,
            f"{100 * test['accuracy']['value']:.1f} %",
            f"{100 * test['accuracy']['low']:.1f}-{100 * test['accuracy']['high']:.1f}",
            str(test["accuracy"]["errors"]),
            f"{test['f1']['value']:.3f}",
            f"{test['roc_auc']['value']:.3f}",
            f"{test['log_loss']['value']:.3f}",
            f"{result['latency_ms']:.1f}",
            f"{records[name]['train.cpu_seconds']:.0f}",
            style="bold" if name == winner else "",
        )
    return table


def _begin_table(title: str) -> Table:
    """Without rows. Where it is too wide names are folded, which are long in a grid: a number cannot be read without its end."""
    table = Table(box=SIMPLE_HEAD, padding=0, title=title, title_justify="left")
    table.add_column("candidate", overflow="fold")
    for heading in ("accuracy", "95 %", "errors", "F1", "AUC", "log-loss", "ms", "CPU s"):
        table.add_column(heading, justify="right", no_wrap=True)
    return table


def _show_verdict(verdict: dict[str, Any], terminal: Terminal) -> None:
    terminal.print(f"[bold]Verdict:[/bold] {escape(verdict['verdict'])}", highlight=False, soft_wrap=True)


def _list_pages(folder: Path) -> dict[str, Path]:
    """What there is to read of a run; steps that found their work done have linked it here too."""
    found = {"evaluation": "evaluate/*/report.html", "labels": "evaluate/*/suspects.html", "dataset": "fuse/*/report.html"}
    pages = {name: next(folder.glob(f"*/{pattern}"), None) for name, pattern in found.items()}
    return {name: path for name, path in pages.items() if path} | {"log": folder / "pipeline.log"}


def _state_headline(evaluation: dict[str, Any], winner: str) -> str:
    """The winner on the images that say most, and which these are."""
    counted, about = state_count(evaluation["candidates"][winner]["headline"]["accuracy"]), evaluation["headline"]
    return f"{counted}, on test images {about['words']}{'; ' if about['caveat'] else ''}{about['caveat']}"


def list_next_commands(verdict: dict[str, Any]) -> dict[str, str]:
    """Command -> what it is for: after a refusal what led to it and how to overrule it, and what a champion is for if there is one."""
    model, version = verdict["model"], verdict["version"]
    server = os.environ.get("MLFLOW_TRACKING_URI", "")
    address = server.rstrip("/") if server.startswith("http") else "http://127.0.0.1:5000"
    commands = {"make ui": f"browse runs and figures; the model is at {address}/#/models/{model}"}
    if not verdict["promote"]:
        registry = ".venv/bin/python -m pipeline registry"
        commands[f"{registry} show {version} --model {model}"] = "what it was judged by"
        commands[f'{registry} promote {version} --model {model} --force --reason "TEXT"'] = "let it serve all the same"
    if verdict["promote"] or verdict["champion_before"]:
        commands[f"make web MODEL={model}"] = "a page for photos, and an API, on port 5002"
        commands[f"make serve MODEL={model}"] = f"the MLflow endpoint of models:/{model}@champion, on port 5001"
        commands[f".venv/bin/python -m pipeline predict PHOTO.jpg --model {model}"] = "classify a photo"
    return commands


def _read(folder: Path, name: str) -> Any:
    (path,) = folder.rglob(name)
    return json.loads(path.read_text())


def _name(candidate: Path) -> str:
    return str(json.loads(candidate.read_text())["name"])
