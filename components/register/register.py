"""From candidates and their evaluation to a verdict: choose, compare with the champion on the same images, decide.

Out: `verdict.json`, which travels with the registered version. This module computes; `run.py` talks to the registry.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from components.common.dataset import Dataset
from components.common.files import VERDICT_FILE
from components.common.metrics import state_count
from components.common.progress import say
from components.common.recipe import Recipe
from components.common.registry import ServedModel
from components.register.answers import ask, compare, estimate, leave_out, measure_log_loss, select_judged
from components.register.certificate import Certificate
from components.register.confounding import judge_confounding
from components.register.gate import Challenger, Comparison, Decision, decide
from components.register.selection import Choice
from components.register.serving_form import ServingForm, time_side_by_side
from serving.predictor import Predictor


@dataclass(frozen=True)
class Judgement:
    """What a challenger was judged by, and the decision."""

    challenger: Challenger
    comparison: Comparison | None
    decision: Decision


@dataclass(frozen=True)
class Verdict:
    """What became of a pipeline run's best candidate; `verdict.json` holds these fields.

    Attributes:
        model: Name of the registered model.
        version: Its version that is spoken of.
        candidate: What that was in the recipe.
        promote: Whether it may become champion.
        verdict: The same in a sentence, with the reason.
        champion_before: Version that was champion when it was judged, if there was one.
        checks: Every question of the gate, see `gate.Check`.
        choice: How the candidate was chosen, see `selection.Choice`.
        failed: Candidates that could not be trained -> why.
        rule: The recipe's gate.
        challenger: What was measured of it alone, see `gate.Challenger`.
        comparison: With the champion, see `gate.Comparison`.
        metrics: What the evaluation says of the candidate; under `headline_is`, which images `headline` is about.
        dataset_digest: What it was trained and judged on.
        generated: Whether any of that was drawn by a program.
    """

    model: str
    version: str
    candidate: str
    promote: bool
    verdict: str
    champion_before: str | None
    checks: list[dict[str, Any]]
    choice: dict[str, Any]
    failed: dict[str, str]
    rule: dict[str, Any]
    challenger: dict[str, Any]
    comparison: dict[str, Any] | None
    metrics: dict[str, Any]
    dataset_digest: str
    generated: bool

    def write(self, folder: Path) -> None:
        """Save as `verdict.json`."""
        (folder / VERDICT_FILE).write_text(json.dumps(asdict(self), indent=1))


def judge(
    candidate: Path, form: ServingForm, champion: ServedModel | None, certificate: Certificate, dataset: Dataset, recipe: Recipe
) -> Judgement:
    """Measure the challenger, compare it with the champion, if there is one, and decide.

    Args:
        candidate: The challenger's folder.
        form: What of it serves, with its answers on the test split.
        champion: The one of the day.
        certificate: The challenger's.
        dataset: Holds the test images.
        recipe: The experiment.

    Raises:
        PawflowError: The champion knows other classes.
    """
    confounding = judge_confounding(form.answers, dataset)
    # Where no image is clean the gate refuses, and all serve to say by which figures.
    answers = select_judged(form.answers, recipe.gate)
    rival = Predictor(champion.folder, champion.version, int8=champion.int8) if champion else None
    photo = next(dataset.originals())[1]
    latencies = time_side_by_side([form.load(candidate), *([rival] if rival else [])], photo)
    log_loss, guessing = measure_log_loss(answers)
    challenger = Challenger(
        estimate=estimate(answers, recipe.gate.metric, recipe.seed),
        log_loss=log_loss,
        guessing=guessing,
        latency_ms=latencies[0],
        megabytes=(candidate / form.network).stat().st_size / 1e6,
        parity=certificate.parity,
        confounding=confounding,
    )
    comparison = None
    if champion is not None and rival is not None:
        new, num_known = leave_out(answers, champion.trained_on)
        other = ask(rival, dataset, new.rows, "comparing with the champion")
        comparison = compare(new, other, recipe.gate, recipe.seed, num_left_out=num_known, slowdown=latencies[0] / latencies[1])
    decision = decide(challenger, comparison, recipe.gate)
    say(decision.verdict)
    return Judgement(challenger, comparison, decision)


def state_verdict(
    judgement: Judgement,
    version: str,
    choice: Choice,
    metrics: dict[str, Any],
    failed: dict[str, str],
    champion: str | None,
    dataset: Dataset,
    recipe: Recipe,
) -> Verdict:
    """Everything that there is to say about a version.

    Args:
        judgement: What it was judged by.
        version: Its number.
        choice: How its candidate was chosen.
        metrics: The evaluation's result for that candidate.
        failed: Candidates that could not be trained, with the reason.
        champion: Number of the champion that it was compared with.
        dataset: What it was trained and judged on.
        recipe: The experiment.
    """
    compared = judgement.comparison
    return Verdict(
        model=recipe.model,
        version=version,
        candidate=choice.winner,
        promote=judgement.decision.promote,
        verdict=judgement.decision.verdict,
        champion_before=champion,
        checks=[asdict(check) for check in judgement.decision.checks],
        choice=asdict(choice),
        failed=failed,
        rule=recipe.gate.model_dump(mode="json"),
        challenger=asdict(judgement.challenger),
        comparison=asdict(compared) | {"p_value": compared.p_value} if compared else None,
        metrics=metrics,
        dataset_digest=dataset.digest,
        generated=bool(dataset.report["generated"]),
    )


def describe_run(verdict: Verdict, recipe: Recipe) -> str:
    """A pipeline run in a few lines of Markdown, for its description in MLflow; the runs that it names are nested in it."""
    about = verdict.metrics["headline_is"]
    return "\n\n".join(
        [
            f"{recipe.summarise()}; dataset `{verdict.dataset_digest}`{', **generated** images' if verdict.generated else ''}",
            f"**Winner**: {verdict.candidate}, now version {verdict.version} of {verdict.model}",
            f"**Headline**: {state_count(verdict.metrics['headline']['accuracy'])}, on test images {about['words']}."
            + (f" But {about['caveat']}." if about["caveat"] else ""),
            f"**Verdict**: {verdict.verdict}",
            "Run `fuse` has the page of the dataset, `evaluate` the report and the labels in doubt, `register` the verdict.",
        ]
    )
