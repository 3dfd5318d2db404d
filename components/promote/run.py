"""Move the `champion` alias to the version that a verdict speaks of."""

from __future__ import annotations

from components.common import registry, tracking
from components.common.cli import JobOption, RecipeOption, VerdictOption
from components.common.errors import PawflowError
from components.common.progress import labelled, say
from components.common.recipe import load_recipe
from components.promote.promote import announce, read_verdict


def run(*, recipe: RecipeOption, verdict: VerdictOption, job: JobOption = "") -> None:
    """Make the version in `verdict` the champion.

    Raises:
        PawflowError: The verdict does not allow it, or the champion has changed since.
    """
    experiment = load_recipe(recipe)
    with labelled("promote"), tracking.step_run("promote", experiment, job):
        decided = read_verdict(verdict)
        if not decided["promote"]:
            raise PawflowError(
                f"the verdict on {decided['model']} version {decided['version']} does not allow a promotion: {decided['reason']}"
            )
        registry.promote(decided["model"], decided["version"], decided["champion_before"])
        say(announce(decided["model"], decided["version"], decided["champion_before"]))
