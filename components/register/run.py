"""Choose the winner, start it as it will be served, certify and judge it, and only then register it, with the verdict on it."""

from __future__ import annotations

import json
from pathlib import Path

from components.common import registry, tracking
from components.common.cli import CandidatesOption, DatasetOption, EvaluationOption, JobOption, OutOption, RecipeOption
from components.common.confounding import find_clean
from components.common.dataset import Dataset
from components.common.files import METRICS_FILE, PREDICTIONS_FILE
from components.common.outcomes import find_outcomes
from components.common.progress import labelled, say
from components.common.recipe import Recipe, load_recipe
from components.common.store import read_record
from components.register.answers import read_predictions
from components.register.certificate import certify, pick_golden_photos
from components.register.chart import CHART_FILE, draw_chart
from components.register.endpoint import Endpoint
from components.register.publishing import publish, registered
from components.register.register import Verdict, describe_run, judge, state_verdict
from components.register.selection import choose_winner
from components.register.serving_form import choose_form


def run(
    *,
    recipe: RecipeOption,
    dataset: DatasetOption,
    candidates: CandidatesOption,
    evaluation: EvaluationOption,
    out: OutOption,
    job: JobOption = "",
) -> str:
    """Register the best of `candidates`; write the verdict to `out` and return "promote" or "keep"."""
    experiment = load_recipe(recipe)
    fused = Dataset(dataset)
    found = find_outcomes(candidates, experiment)
    evaluated = json.loads((evaluation / METRICS_FILE).read_text())
    results = evaluated["candidates"]
    answers = {
        split: read_predictions(evaluation / PREDICTIONS_FILE, split, fused, find_clean(fused, split)) for split in ("validation", "test")
    }
    with labelled("register"), tracking.step_run("register", experiment, job):
        choice = choose_winner(answers["validation"], {name: result["latency_ms"] for name, result in results.items()}, experiment)
        say(choice.reason)
        winner = found.trained[choice.winner]
        form = choose_form(winner, {split: said[choice.winner] for split, said in answers.items()}, fused, experiment)
        golden = pick_golden_photos(fused)
        with registered(winner, form, golden, fused, experiment) as made:
            uri = f"models:/{experiment.model}/{made.version}"
            with Endpoint(uri) as endpoint:
                certificate = certify(winner, form, uri, endpoint, golden)
            certificate.require()
            before = registry.find_version(experiment.model, registry.CHAMPION)
            champion = registry.download_version(experiment.model, before) if before else None
            judgement = judge(winner, form, champion, certificate, fused, experiment)
            metrics = results[choice.winner] | {"headline_is": evaluated["headline"]}
            verdict = state_verdict(judgement, made.version, choice, metrics, found.failed, before, fused, experiment)
            publish(made, verdict, certificate, fused, experiment, job)
        out.mkdir(parents=True, exist_ok=True)
        verdict.write(out)
        cpu_seconds = {name: read_record(folder).metrics.get("train.cpu_seconds", 0.0) for name, folder in found.trained.items()}
        title = experiment.name + (", generated images" if verdict.generated else "")
        draw_chart(results, cpu_seconds, choice, title, out / CHART_FILE)
        _report(verdict, experiment, out, fused, job)
    return "promote" if verdict.promote else "keep"


def _report(verdict: Verdict, recipe: Recipe, out: Path, dataset: Dataset, job: str) -> None:
    """Write what came of it into the step's run, and the gist into the pipeline's."""
    tracking.log_dataset(verdict.model, "output of fuse", dataset.digest, "evaluation")
    tracking.log_files(out)
    parts = {"test": verdict.metrics["test"], "headline": {"accuracy": verdict.metrics["headline"]["accuracy"]}}
    figures = {f"{part}.{name}": found["value"] for part, metrics in parts.items() for name, found in metrics.items() if "value" in found}
    tags = {
        tracking.NOTE_TAG: describe_run(verdict, recipe),
        "pawflow.candidate": verdict.candidate,
        "pawflow.model_version": f"{verdict.model}/{verdict.version}",
        "pawflow.promote": str(verdict.promote).lower(),
        "pawflow.verdict": verdict.verdict,
    }
    if verdict.failed:
        tags["pawflow.failed_candidates"] = "; ".join(f"{name}: {reason}" for name, reason in verdict.failed.items())
    tracking.log_outcome(job, figures, tags)
