"""Choose the winner among the candidates, compare it with the champion on the same images, and reach a verdict.

Out: `verdict.json`, which the registered version repeats in its description. This module computes; `run.py` talks to the registry.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from components.common.dataset import Dataset
from components.common.errors import PawflowError
from components.common.metrics import METRICS
from components.common.progress import say, track
from components.common.recipe import LOWER_IS_BETTER, Recipe
from components.common.registry import ServedModel
from components.register.gate import Comparison, Decision, decide
from serving.predictor import Predictor


@dataclass(frozen=True)
class Verdict:
    """What became of a pipeline run's best candidate; `verdict.json` holds these fields."""

    model: str
    version: str
    candidate: str
    promote: bool
    reason: str
    champion_before: str | None
    metrics: dict[str, Any]
    comparison: dict[str, Any] | None
    dataset_digest: str
    generated: bool

    def write(self, folder: Path) -> None:
        """Save as `verdict.json`."""
        (folder / "verdict.json").write_text(json.dumps(asdict(self), indent=1))


def choose_winner(results: dict[str, Any], recipe: Recipe) -> str:
    """Name of the candidate with the best `recipe.select` on the validation split; of equals, the first.

    Args:
        results: `candidates` of the evaluation's `metrics.json`.
        recipe: The experiment.

    Raises:
        PawflowError: No candidate has a finite value.
    """
    sign = -1.0 if recipe.select in LOWER_IS_BETTER else 1.0
    values = {name: result["validation"][recipe.select]["value"] for name, result in results.items()}
    finite = {name: value for name, value in values.items() if np.isfinite(value)}
    if not finite:
        raise PawflowError(f"no candidate has a finite {recipe.select} on the validation split: {values}")
    return max(finite, key=lambda name: sign * finite[name])


def compare(challenger: Path, champion: ServedModel, dataset: Dataset, metric: str) -> Comparison:
    """Judge both models on the challenger's test images, less those that the champion was trained on.

    Both see the encoded files, as callers would send them, so it does not matter which size of image each takes.

    Raises:
        PawflowError: The champion knows other classes.
    """
    models = Predictor(challenger), Predictor(champion.folder)
    if set(models[0].card.classes) != set(models[1].card.classes):
        raise PawflowError(
            f"champion {champion.version} knows the classes {list(models[1].card.classes)}, the challenger {list(models[0].card.classes)}; "
            "register it under another name: set `model` in the recipe"
        )
    rows = dataset.rows("test").set_index("id")
    labels: list[str] = []
    answers: tuple[list[dict[str, Any]], list[dict[str, Any]]] = ([], [])
    for identifier, data in track(dataset.originals(), "comparing with the champion", total=len(rows)):
        if rows.at[identifier, "sha256"] in champion.trained_on:
            continue
        labels.append(str(rows.at[identifier, "label"]))
        for model, given in zip(models, answers, strict=True):
            given.append(model.predict(data))
    right = [np.array([answer["label"] == label for answer, label in zip(given, labels, strict=True)], dtype=bool) for given in answers]
    values = [_score(metric, given, labels, dataset.classes) if labels else float("nan") for given in answers]
    return Comparison(
        num_images=len(labels),
        challenger=values[0],
        champion=values[1],
        only_challenger_right=int((right[0] & ~right[1]).sum()),
        only_champion_right=int((right[1] & ~right[0]).sum()),
    )


def _score(metric: str, answers: list[dict[str, Any]], labels: list[str], classes: list[str]) -> float:
    probabilities = pd.DataFrame([answer["probabilities"] for answer in answers])[classes].to_numpy(np.float64)
    numbers = np.array([classes.index(label) for label in labels])
    return METRICS[metric](numbers, probabilities / probabilities.sum(axis=1, keepdims=True))


def judge(
    challenger: Path, result: dict[str, Any], champion: ServedModel | None, dataset: Dataset, recipe: Recipe
) -> tuple[Decision, Comparison | None]:
    """Compare a candidate with the champion, if there is one, and decide."""
    comparison = compare(challenger, champion, dataset, recipe.gate.metric) if champion else None
    decision = decide(result["test"][recipe.gate.metric], comparison, recipe.gate)
    say(decision.reason)
    return decision, comparison


def describe(verdict: Verdict) -> str:
    """The verdict as Markdown, for people who browse the registry."""
    test = verdict.metrics["test"]
    lines = [
        f"**{verdict.reason}**",
        "",
        f"Candidate `{verdict.candidate}`, dataset `{verdict.dataset_digest[:12]}`"
        + ("; all figures on **generated** images, none on photos." if verdict.generated else "."),
        "",
        f"| test metric (n = {test['accuracy']['n']}) | value | 95 % interval |",
        "| --- | --- | --- |",
        *(f"| {name} | {value['value']:.4f} | {value['low']:.4f} to {value['high']:.4f} |" for name, value in test.items()),
    ]
    return "\n".join(lines)
