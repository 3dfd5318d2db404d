"""The reference of the command line, made of what `--help` shows: prints docs/cli.md (`make reference`)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import typer

from pipeline.__main__ import EXIT_CODES, app

_INTRODUCTION = """# The command line

*Made by `make reference` from what `--help` shows; a test keeps it up to date.*

`.venv/bin/python -m pipeline COMMAND`, or `python -m pipeline COMMAND` with `.venv` activated. Every command has `--help`, with examples.

The words: a *recipe* says what to do; a *candidate* is one network of it, trained in one way; the *winner* is the best of them on
validation; the *verdict* says whether the winner may serve; the *champion* serves, the *challenger* is the newest version until it is
promoted, the *previous* one is what a rollback goes back to.

Environment variables: `PAWFLOW_HOME` (cache and runs, by default `.pawflow`), `MLFLOW_TRACKING_URI` (by default
`sqlite:///mlflow.db`), `PAWFLOW_CHECKPOINTS`, `PAWFLOW_WEIGHTS` ([train](../components/train/README.md)), `PAWFLOW_API_KEY` (of
the gateway, for `drift`), `PAWFLOW_IMAGES` and `PAWFLOW_DOCKER_NETWORK` ([infra](../infra/README.md)), `KAGGLE_API_TOKEN`,
`AWS_ENDPOINT_URL_S3` and boto3's own.

## Exit codes

| code | |
| --- | --- |"""

_SCRIPTS = """
## For scripts

`--json` prints JSON on standard output, and whatever else there is to say on standard error; `--quiet` leaves of a run errors and the
verdict. A verdict that says no is no failure of the run, so ask for it:

```text
python -m pipeline run --recipe mine.yaml --quiet --json > verdict.json && jq --exit-status .promote verdict.json
```

gives `model`, `version`, `candidate`, `promote`, `verdict` (the sentence), `folder` and `seconds`.
"""


def main() -> None:
    """Print the page."""
    print(_INTRODUCTION)
    for code, meaning in EXIT_CODES.items():
        print(f"| {code} | {meaning} |")
    print(_SCRIPTS)
    print("## Commands")
    for name, command in _walk(typer.main.get_command(app), ""):
        print(*_describe(name, command), sep="\n")


def _walk(command: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Every command that does something, with its full name."""
    for name, one in command.commands.items():
        if hasattr(one, "commands"):
            yield from _walk(one, f"{path}{name} ")
        else:
            yield f"{path}{name}", one


def _describe(name: str, command: Any) -> Iterator[str]:
    about, *examples = re.split(r"Examples?: ", command.help)
    yield f"\n### {name}\n\n{' '.join(about.split())}\n"
    lines = [" ".join(line.split()) for example in examples for line in example.split(";\n")]
    yield from ("```text", *(line for text in lines for line in text.split("; ")), "```", "")
    yield "| | default | |\n| --- | --- | --- |"
    for parameter in command.params:
        if parameter.name != "help":
            yield f"| {_state_name(parameter)} | {_state_default(parameter)} | {getattr(parameter, 'help', '') or ''} |"


def _state_name(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return f"`{parameter.name.upper()}{'...' if parameter.nargs == -1 else ''}`"
    return ", ".join(f"`{option}`" for option in (*parameter.opts, *parameter.secondary_opts))


def _state_default(parameter: Any) -> str:
    if parameter.required:
        return "**required**"
    value = parameter.default
    value = getattr(value, "value", value)
    return "" if value in (None, "", False, ()) else "yes" if value is True else f"`{value}`"


if __name__ == "__main__":
    main()
