from __future__ import annotations

import io
import shlex

import pytest
from rich.console import Console as Terminal
from typer.main import get_command

from pipeline.__main__ import app
from pipeline.summary import _begin_table, list_next_commands
from tests.docs.reading import expand_make, parse


@pytest.mark.parametrize(("promote", "champion_before"), [(True, None), (False, "1"), (False, None)])
def test_what_can_be_done_next_depends_on_the_verdict_and_parses(promote: bool, champion_before: str | None) -> None:
    commands = list_next_commands({"model": "pets", "version": "2", "promote": promote, "champion_before": champion_before})
    assert any(" registry promote 2 " in command for command in commands) is not promote
    assert ("make web MODEL=pets" in commands) is (promote or champion_before is not None)
    for command in commands:
        if command.startswith("make "):
            expand_make(command)
        else:
            start, *words = shlex.split(command)
            assert (start, words[:2]) == (".venv/bin/python", ["-m", "pipeline"])
            parse(get_command(app), words[2:])


def test_the_long_names_of_a_grid_leave_the_numbers_readable() -> None:
    table, printed = _begin_table("cnn_grid"), io.StringIO()
    numbers = ["65.7 %", "60.1-70.9", "102", "0.657", "0.701", "0.632", "0.8", "10"]
    table.add_row("cnn-0.01-leaky_relu-glorot_uniform-0.01 *", *numbers)
    Terminal(file=printed, width=80).print(table)
    assert all(number in printed.getvalue() for number in numbers)
