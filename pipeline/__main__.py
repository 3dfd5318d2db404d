"""The command line: `python -m pipeline COMMAND`."""

from __future__ import annotations

import json
import shlex
import sys
import time
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console as Terminal
from rich.markup import escape
from tqdm import tqdm

from components.common.cli import USER_ERROR
from components.common.errors import PawflowError
from components.common.mishaps import explain
from pipeline.catalog import find_recipe, list_recipes, summarise_recipe
from pipeline.data import commands as data
from pipeline.registry import commands as registry_commands
from pipeline.servers import ModelName
from pipeline.servers import commands as servers

if TYPE_CHECKING:
    from pipeline.cluster import Cluster
    from pipeline.profile import Profile

_MOVED = 3
EXIT_CODES = {
    0: "done; a verdict that says no is an answer too, which `--json` tells apart",
    1: "a bug of this project, with its stack trace; of `submit`, also a run that did not succeed",
    2: "something that you can put right: the message says what came, what was expected, what to do; `predict`: or a photo is unreadable",
    _MOVED: "of `drift`: photos have moved",
    130: "stopped by Ctrl-C (143: by SIGTERM); the same command continues where it was",
}
app = typer.Typer(
    help="Run, inspect and use the pawflow pipeline.\n\n"
    "Examples: python -m pipeline run --recipe sample; python -m pipeline COMMAND --help",
    epilog="\n\n".join(f"Exit code {code}: {meaning}." for code, meaning in EXIT_CODES.items()),
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

app.add_typer(data, name="data")
app.add_typer(registry_commands, name="registry")
app.add_typer(servers)

RecipeName = Annotated[str, typer.Option("--recipe", help="Name of a recipe (see `recipes`) or path of a YAML file.")]
Overrides = Annotated[list[str] | None, typer.Argument(help="Recipe fields to change: key=value, such as sources.root=DIR.")]
ProfileFile = Annotated[Path | None, typer.Option("--profile", help="How the cluster runs tasks; infra/kubeflow/profile.yaml is one.")]
Host = Annotated[str, typer.Option("--host", help="Address of the Kubeflow Pipelines API, before the profile's.")]


class Runner(StrEnum):
    """Where the tasks of a run execute."""

    LOCAL = "local"
    DOCKER = "docker"


class Target(StrEnum):
    """What is examined."""

    LOCAL = "local"
    DOCKER = "docker"
    CLUSTER = "cluster"


@app.command()
def run(
    recipe: RecipeName = "sample",
    overrides: Overrides = None,
    more: Annotated[str, typer.Option("--set", help="The same as one text, separated by spaces, for callers such as `mlflow run`.")] = "",
    runner: Annotated[Runner, typer.Option(help="Whether a task is a process, or a container (README of infra).")] = Runner.LOCAL,
    smoke: Annotated[bool, typer.Option("--smoke", help="Shrink the recipe to about a minute, to try it out.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Say nothing but errors and the verdict.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the verdict as one JSON object, and all else on standard error.")] = False,
) -> None:
    """Run the whole pipeline and show what came of it.

    Examples: python -m pipeline run --recipe sample --smoke;
    python -m pipeline run --recipe fusion sources.root=../data seed=3;
    python -m pipeline run --recipe mine.yaml --quiet --json
    """
    from pipeline.local import run_locally
    from pipeline.summary import describe, show_summary

    # Bound to the real standard output or error, of which the first is redirected while the pipeline runs.
    terminal = Terminal(file=sys.stderr if as_json else sys.stdout)
    try:
        further = shlex.split(more)
    except ValueError as error:
        raise PawflowError(f"--set is {more!r}, which cannot be divided at spaces ({error}); close or escape the quote") from error
    experiment = find_recipe(recipe, (*(overrides or ()), *further), smoke=smoke)
    finished = run_locally(experiment, terminal, containers=runner is Runner.DOCKER, quiet=quiet)
    show_summary(finished, experiment, terminal, quiet=quiet)
    if as_json:
        typer.echo(json.dumps(describe(finished)))


@app.command()
def doctor(
    recipe: RecipeName = "sample",
    overrides: Overrides = None,
    target: Annotated[Target, typer.Option("--runner", help="Where it is to run.")] = Target.LOCAL,
    profile: ProfileFile = None,
    host: Host = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object per finding.")] = False,
) -> None:
    """Check all that a run needs before it starts; what would make it fail is named with its remedy, and the exit code is 2.

    Examples: python -m pipeline doctor --recipe fusion;
    python -m pipeline doctor --recipe fusion --runner cluster --profile infra/kubeflow/profile.yaml
    """
    from pipeline.doctor import examine

    chosen = _choose_profile(profile, host)
    terminal, failed = Terminal(file=sys.stdout), False
    for finding in examine(find_recipe(recipe, tuple(overrides or ())), target.value, chosen):
        failed = failed or finding.level == "failed"
        if as_json:
            typer.echo(json.dumps(asdict(finding)))
        else:
            colour = {"ok": "green", "warning": "yellow", "failed": "red"}[finding.level]
            terminal.print(
                f"[{colour}]{finding.level:8}[/{colour}]{finding.subject:28} {escape(finding.text)}", highlight=False, soft_wrap=True
            )
    if failed:
        raise typer.Exit(USER_ERROR)


@app.command()
def recipes(as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False) -> None:
    """List the recipes that ship with the project, with the first line of each.

    Example: python -m pipeline recipes
    """
    about = {name: summarise_recipe(name) for name in list_recipes()}
    typer.echo(json.dumps(about) if as_json else "\n".join(f"{name:20} {line}" for name, line in about.items()))


@app.command(name="compile")
def compile_(
    recipe: Annotated[str, typer.Option(help="Recipe whose `parallelism` it gets; by default all candidates train at once.")] = "",
    profile: ProfileFile = None,
    output: Annotated[Path, typer.Option(help="YAML file to write.")] = Path("pawflow-training.yaml"),
) -> None:
    """Compile the pipeline to YAML for Kubeflow Pipelines; the recipe is a parameter of each run.

    Example: python -m pipeline compile --profile infra/kubeflow/profile.yaml --output pipeline.yaml
    """
    from pipeline.cluster import compile_pipeline

    compile_pipeline(output, _choose_profile(profile), find_recipe(recipe).parallelism if recipe else 0)
    typer.echo(f"wrote {output}")


@app.command()
def submit(
    recipe: RecipeName = "sample",
    overrides: Overrides = None,
    profile: ProfileFile = None,
    host: Host = "",
    name: Annotated[str, typer.Option(help="Of the run; by default the recipe and the time.")] = "",
    wait: Annotated[bool, typer.Option(help="Wait for the end; the exit code is then 1 if the run did not succeed.")] = True,
) -> None:
    """Run the pipeline on a cluster with Kubeflow Pipelines.

    Example: python -m pipeline submit --recipe fusion --profile infra/kubeflow/profile.yaml --host http://localhost:8080
    """
    from pipeline.cluster import SUCCEEDED

    experiment = find_recipe(recipe, tuple(overrides or ()))
    cluster = _find_cluster(profile, host)
    submitted = cluster.submit(experiment, name or f"{experiment.name} {time.strftime('%Y-%m-%d %H:%M:%S')}")
    typer.echo(f"submitted {submitted.link}")
    if wait and cluster.wait(submitted.run_id, lambda state: typer.echo(f"{time.strftime('%H:%M:%S')} {state.lower()}")) != SUCCEEDED:
        raise typer.Exit(1)


@app.command()
def schedule(
    cron: Annotated[str, typer.Argument(help="Six fields: second, minute, hour, day of month, month, day of week.")],
    recipe: RecipeName = "sample",
    overrides: Overrides = None,
    profile: ProfileFile = None,
    host: Host = "",
    name: Annotated[str, typer.Option(help="Of the recurring run; by default the recipe's.")] = "",
    concurrency: Annotated[int, typer.Option(min=1, max=10, help="Runs that may be under way at the same time.")] = 1,
    catch_up: Annotated[bool, typer.Option(help="Make up for runs that were missed.")] = False,
) -> None:
    """Run the pipeline on a cluster again and again.

    Every Monday at three.

    Example: python -m pipeline schedule '0 0 3 * * 1' --recipe fusion --profile infra/kubeflow/profile.yaml
    """
    experiment = find_recipe(recipe, tuple(overrides or ()))
    made = _find_cluster(profile, host).schedule(experiment, name or experiment.name, cron, concurrency=concurrency, catch_up=catch_up)
    typer.echo(f"scheduled {name or experiment.name} as recurring run {made}")


@app.command()
def upload(
    version: Annotated[str, typer.Argument(help="Name of this version of the pipeline, such as 0.1.0.")],
    profile: ProfileFile = None,
    host: Host = "",
) -> None:
    """Make this version of the pipeline known to a cluster, for people who start runs in its UI.

    Example: python -m pipeline upload 0.1.0 --profile infra/kubeflow/profile.yaml
    """
    typer.echo(f"uploaded version {version}: {_find_cluster(profile, host).upload(version)}")


def _find_cluster(profile: Path | None, host: str) -> Cluster:
    from pipeline.cluster import Cluster

    return Cluster(_choose_profile(profile, host))


def _choose_profile(profile: Path | None, host: str = "") -> Profile:
    """The profile in a file, or the default one; an address of the command line comes before its own."""
    from pipeline.profile import Profile, read_profile

    chosen = read_profile(profile) if profile else Profile()
    return chosen.model_copy(update={"host": host}) if host else chosen


@app.command()
def predict(
    photos: Annotated[list[Path], typer.Argument(help="Image files, folders of them, or zip and tar archives.")],
    model: ModelName = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object per photo.")] = False,
    table: Annotated[
        Path | None,
        typer.Option("--csv", help="Write a table instead of printing: of cats and dogs Kaggle's (id,label; 1 is a dog), else of paths."),
    ] = None,
) -> None:
    """Classify photos with the champion.

    Examples: python -m pipeline predict dog.jpg cat.jpg; python -m pipeline predict test1.zip --csv submission.csv
    """
    from components.common import registry, tracking_store
    from pipeline.predicting import answer_photos, write_csv
    from serving.predictor import Predictor

    tracking_store.require_server()
    chosen = model or registry.newest_champion()
    served = registry.download_version(chosen, registry.require_champion(chosen))
    predictor = Predictor(served.folder, served.version, int8=served.int8)
    if predictor.card.generated:
        typer.echo(f"{chosen} has learnt from drawings only; what it says about photos means nothing.", err=True)
    answered = answer_photos(photos, predictor)
    if table:
        written = write_csv(answered, predictor.card.classes, table)
        # Seldom enough for a log: each redraw is a line where this is no terminal.
        answered = iter(tqdm(written, "predicting", unit=" photos", delay=1, mininterval=2))
    num_answered = num_unreadable = 0
    for one in answered:
        if one.answer is None:
            num_unreadable += 1
            problem = {"photo": one.photo, "error": one.error}
            typer.echo(json.dumps(problem) if as_json else f"{one.photo}: error: {one.error}", err=not as_json)
            continue
        num_answered += 1
        if as_json:
            typer.echo(json.dumps({"photo": one.photo, "model": chosen, **one.answer}))
        elif not table:
            doubt, answer = ", not sure" if one.answer["not_sure"] else "", one.answer
            typer.echo(f"{one.photo}: {answer['label']} ({100 * answer['probability']:.1f} %{doubt}) by {chosen} version {served.version}")
    if table:
        typer.echo(f"wrote {num_answered} rows to {table}", err=as_json)
    if num_unreadable:
        raise typer.Exit(USER_ERROR)


@app.command()
def drift(
    url: Annotated[str, typer.Option(help="Address of the gateway.")] = "http://127.0.0.1:5002",
    as_json: Annotated[bool, typer.Option("--json", help="Print what the gateway answers.")] = False,
) -> None:
    """Show what a running gateway was asked, and whether that has moved from the photos it was judged on; the exit code is then 3.

    Example: python -m pipeline drift --url http://127.0.0.1:5002
    """
    from pipeline.drift import find_moved, read_drift, show_drift

    told = read_drift(url)
    if as_json:
        typer.echo(json.dumps(told))
    else:
        show_drift(told, Terminal(file=sys.stdout))
    if find_moved(told):
        raise typer.Exit(_MOVED)


def main() -> None:
    """Run the command line; a problem that the user can put right ends it with a message and exit code 2."""
    try:
        app(prog_name="python -m pipeline")
    except Exception as error:
        known = explain(error)
        if known is None:
            raise
        Terminal(stderr=True).print(f"[bold red]error:[/bold red] {escape(str(known))}", highlight=False, soft_wrap=True)
        sys.exit(USER_ERROR)


if __name__ == "__main__":
    main()
