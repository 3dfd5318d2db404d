"""Move the `champion` alias to the version that a verdict speaks of."""

from __future__ import annotations

from components.common import registry, tracking
from components.common.cli import JobOption, RecipeOption, VerdictOption
from components.common.errors import PawflowError
from components.common.progress import labelled, say
from components.common.recipe import load_recipe
from components.promote.promote import announce, list_objections, read_verdict


def run(*, recipe: RecipeOption, verdict: VerdictOption, job: JobOption = "") -> None:
    """Make the version in `verdict` the champion.

    Raises:
        PawflowError: Its verdict does not allow it, or the champion has changed since.
    """
    experiment = load_recipe(recipe)
    with labelled("promote"), tracking.step_run("promote", experiment, job):
        decided = read_verdict(verdict)
        model, version, before = decided["model"], decided["version"], decided["champion_before"]
        entry = registry.get_version(model, version)
        champion = registry.find_version(model, registry.CHAMPION)
        # An attempt that was killed may have come as far as that.
        objections = list_objections(entry.tags, before if champion == version else champion)
        if objections:
            raise PawflowError(
                f"{model} version {version} is not promoted: {'; '.join(objections)}. Run the pipeline again for a new verdict"
            )
        registry.promote(model, version, before, reason=f"verdict of the pipeline run {job or 'by hand'}")
        say(announce(model, version, before))
