"""Register the winner as a version of the recipe's model, with the gate's verdict on it."""

from __future__ import annotations

import json
import shutil
import tempfile
from dataclasses import asdict
from pathlib import Path

from components.common import registry, tracking
from components.common.cli import CandidatesOption, DatasetOption, EvaluationOption, JobOption, OutOption, RecipeOption
from components.common.dataset import Dataset
from components.common.inputs import find_candidates
from components.common.progress import labelled, say
from components.common.recipe import load_recipe
from components.common.store import artifact_digest
from components.register.register import Verdict, choose_winner, describe, judge
from serving.predictor import CARD_FILE, MODEL_FILE


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
    folders = find_candidates(candidates, experiment)
    results = json.loads((evaluation / "metrics.json").read_text())["candidates"]
    with labelled("register"), tracking.step_run("register", experiment, job):
        winner = choose_winner(results, experiment)
        say(f"best {experiment.select} on validation: {winner}")
        before = registry.find_version(experiment.model, registry.CHAMPION)
        champion = registry.download_version(experiment.model, before) if before else None
        decision, comparison = judge(folders[winner], results[winner], champion, fused, experiment)
        version = _log(folders[winner], fused, experiment.model, winner)
        verdict = Verdict(
            model=experiment.model,
            version=version,
            candidate=winner,
            promote=decision.promote,
            reason=decision.reason,
            champion_before=before,
            metrics=results[winner],
            comparison=asdict(comparison) | {"p_value": comparison.p_value} if comparison else None,
            dataset_digest=fused.digest,
            generated=bool(fused.report["generated"]),
        )
        description = describe(verdict)
        tags = {
            "recipe": experiment.name,
            "candidate": winner,
            "candidate_digest": artifact_digest(folders[winner]),
            "dataset_digest": fused.digest,
            "generated": str(verdict.generated).lower(),
            "verdict": "promote" if verdict.promote else "keep",
            "git.commit": tracking.pipeline_tag(job, "git.commit"),
        }
        registry.describe_version(experiment.model, version, description, tags)
        out.mkdir(parents=True, exist_ok=True)
        verdict.write(out)
        tracking.log_dataset(experiment.model, "output of fuse", fused.digest, "evaluation")
        tracking.log_text(description, "verdict.md")
        headline = {f"test.{name}": estimate["value"] for name, estimate in results[winner]["test"].items()}
        tracking.log_outcome(
            job, headline, {"winner": winner, "verdict": decision.reason, "model_version": f"{experiment.model}/{version}"}
        )
        say(f"{experiment.model} version {version} is registered as challenger")
    return "promote" if verdict.promote else "keep"


def _log(candidate: Path, dataset: Dataset, model: str, name: str) -> str:
    """Log the files that serving needs, and no others, as a version."""
    manifest = dataset.manifest
    seen = frozenset(manifest.loc[manifest["split"].isin(["train", "validation"]), "sha256"])
    _, example = next(dataset.originals())
    with tempfile.TemporaryDirectory(prefix="pawflow-") as folder:
        served = Path(folder) / "model"
        served.mkdir()
        for file in (MODEL_FILE, CARD_FILE):
            shutil.copy(candidate / file, served)
        return registry.log_model(served, seen, example, model, {"candidate": name, "dataset_digest": dataset.digest})
