"""Judge every candidate on images that it has not seen, through the ONNX file and the code that will serve it.

Out: `metrics.json` (see README.md), `predictions.parquet` (one row per candidate and image), the leaderboard as table and picture, figures,
and `report.html`, which says it all in words. Where a candidate is `frozen`, `suspects.html` asks a person about labels in doubt.

What costs many passes through a network (robustness, strangers, explanations) is measured for the first of the leaderboard alone, here
the `winner`: the candidate with the best `select` on the validation split. The register step may choose another; see README.md.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd

from components.common.candidate import OUT_OF_FOLD
from components.common.dataset import Dataset
from components.common.files import METRICS_FILE, PREDICTIONS_FILE
from components.common.metrics import state_count
from components.common.progress import say
from components.common.recipe import Recipe
from components.common.store import Record, read_record
from components.evaluate import leaderboard, suspects
from components.evaluate.answers import Answers, ask, read_out_of_fold, time_one_image
from components.evaluate.explanations import check_explanations
from components.evaluate.judgement import Exam, judge
from components.evaluate.plots import CONFUSION_MATRIX, FIGURES, WORST_ERRORS, Subject, draw_figures, draw_worst_errors
from components.evaluate.report import PAGE, write_page
from components.evaluate.robustness import measure_robustness
from components.evaluate.slices import MEASURES, choose_headline, describe_images, describe_origins
from components.evaluate.strangers import draw_strangers, measure_strangers
from serving.predictor import Predictor

_JUDGED_SPLITS = ("validation", "test")


def evaluate(
    dataset: Dataset, candidates: dict[str, Path], recipe: Recipe, folder: Path, failed: Mapping[str, str] = MappingProxyType({})
) -> Record:
    """Judge candidates on the validation and test splits of `dataset`.

    Args:
        dataset: Output of the fuse step.
        candidates: Name -> folder of each that was trained.
        recipe: The experiment.
        folder: Empty folder for the result.
        failed: Name -> reason of each that could not be trained, to be listed with the others.
    """
    images, ranges = describe_images(dataset, recipe)
    exam = Exam(dataset, images, describe_origins(dataset, recipe), choose_headline(images, dataset), recipe.seed)
    results: dict[str, Any] = {}
    answers: dict[str, dict[str, Answers]] = {}
    for name, candidate in candidates.items():
        predictor = Predictor(candidate)
        answers[name] = {split: ask(predictor, dataset.images(split), f"{name}: {split}") for split in _JUDGED_SPLITS}
        latency = time_one_image(predictor, dataset.images("validation")[0])
        results[name] = judge(answers[name], exam, candidate, predictor.card) | {"latency_ms": latency}
        draw_figures(_portray(name, answers, predictor, exam), [CONFUSION_MATRIX], folder / "figures" / name)
        say(f"{name}: {state_count(results[name]['headline']['accuracy'])}, in the headline")
    _tabulate(answers, exam).to_parquet(folder / PREDICTIONS_FILE, index=False)
    table = leaderboard.rank(results, {name: read_record(path).metrics for name, path in candidates.items()}, recipe.select)
    leaderboard.write(table, failed, folder / leaderboard.TABLE_FILE)
    leaderboard.draw(table, failed, _title("test split", exam), folder / leaderboard.FIGURE_FILE)
    winner = str(table["candidate"].iloc[0])
    predictor = Predictor(candidates[winner])
    portrait = _portray(winner, answers, predictor, exam)
    results[winner] |= examine(candidates[winner], predictor, portrait, exam, folder / "figures" / winner)
    summary = {
        "generated": bool(dataset.report["generated"]),
        "recipe": dataset.report["recipe"],
        "dataset_digest": dataset.digest,
        "classes": dataset.classes,
        "select": recipe.select,
        "winner": winner,
        "headline": {"words": exam.headline.words, "caveat": exam.headline.caveat, "n": int(exam.headline.select(images).sum())},
        "measures": {name: {"meaning": meaning, "ranges": ranges[name]} for name, meaning in MEASURES.items()},
        "suspects": doubt_labels(dataset, candidates, table["candidate"].tolist(), folder),
        "candidates": {name: results[name] for name in table["candidate"]},
        "failed": dict(failed),
    }
    (folder / METRICS_FILE).write_text(json.dumps(summary, indent=1))
    write_page(summary, table, folder / "figures" / winner, folder / PAGE)
    return _make_record(summary, len(images))


def _make_record(summary: dict[str, Any], num_images: int) -> Record:
    metrics = {
        f"{name}.{key}": value for name, result in summary["candidates"].items() for key, value in flatten(result, brief=True).items()
    }
    doubtful = {f"suspects.{name}": float(value) for name, value in (summary["suspects"] or {}).items() if name != "candidate"}
    doubtful_files = [suspects.PAGE, suspects.SUSPECTS_FILE] if summary["suspects"] else []
    return Record(
        params={
            "dataset_digest": summary["dataset_digest"],
            "num_test": num_images,
            "winner": summary["winner"],
            "headline": summary["headline"]["words"],
        },
        metrics=metrics | doubtful,
        tags={"pawflow.generated": str(summary["generated"]).lower()},
        figures=[PAGE, leaderboard.FIGURE_FILE, leaderboard.TABLE_FILE, "figures", METRICS_FILE, *doubtful_files],
    )


def _portray(name: str, answers: dict[str, dict[str, Answers]], predictor: Predictor, exam: Exam) -> Subject:
    dataset = exam.dataset
    return Subject(dataset.labels("test"), answers[name]["test"], dataset.classes, predictor.card, _title(name, exam))


def examine(candidate: Path, predictor: Predictor, subject: Subject, exam: Exam, figures: Path) -> dict[str, Any]:
    """What is measured of the winner alone, and its figures.

    Args:
        candidate: Its folder.
        predictor: It.
        subject: What it says of the test split.
        exam: What it is judged on.
        figures: Folder to draw them into.
    """
    dataset, labels, said = exam.dataset, subject.labels, subject.answers
    images = dataset.images("test")
    draw_figures(subject, [name for name in FIGURES if name != CONFUSION_MATRIX], figures)
    if not said.is_right(labels).all():
        draw_worst_errors(subject, predictor, dataset, exam.suspects, figures / WORST_ERRORS)
    right, judged = np.flatnonzero(said.is_right(labels)), np.flatnonzero(exam.headline.select(exam.images))
    names = [dataset.classes[label] for label in labels]
    return {
        "robustness": measure_robustness(predictor, images, labels, exam.images["group"].to_numpy(str), judged, exam.seed),
        "strangers": measure_strangers(predictor, said, draw_strangers(dataset.image_size, exam.seed)),
        "explanations": check_explanations(candidate, images, names, right, exam.seed),
    }


def doubt_labels(dataset: Dataset, candidates: dict[str, Path], ranking: list[str], folder: Path) -> dict[str, Any] | None:
    """Write which labels are in doubt, as a table and as a page.

    Args:
        dataset: All of its splits.
        candidates: Name -> folder.
        ranking: Their names, the best first; the first that is `frozen` is asked.
        folder: To write into.

    Returns:
        The `candidate` that was asked, on how many images (`n`), and the counts of `count_suspects`; None where no candidate is `frozen`.
    """
    name = next((name for name in ranking if (candidates[name] / OUT_OF_FOLD).is_file()), None)
    if name is None:
        return None
    predicted = read_out_of_fold(candidates[name] / OUT_OF_FOLD, dataset.classes)
    found = suspects.find_suspects(dataset, predicted)
    found.to_csv(folder / suspects.SUSPECTS_FILE, index=False)
    suspects.write_page(dataset, found, name, folder / suspects.PAGE)
    counts = suspects.count_suspects(found)
    known = f", {counts['known']} are on the public list" if counts["known"] else ""
    say(f"labels in doubt: {name} calls {counts['called_otherwise']} images otherwise{known}; {suspects.PAGE} asks about them")
    return {"candidate": name, "n": len(predicted), **counts}


def flatten(result: dict[str, Any], *, brief: bool = False) -> dict[str, float]:
    """One candidate's result as MLflow metrics: `headline.accuracy`, `test.accuracy`, `test.accuracy.low`, ..., `latency_ms`.

    Args:
        result: From `metrics.json`.
        brief: Leave out intervals and slices, where many candidates share a run.
    """
    metrics = {"latency_ms": float(result["latency_ms"])}
    for part in ("headline", "out_of_fold", *_JUDGED_SPLITS):
        for name, estimate in (result[part] or {}).items():
            if "value" in estimate:
                metrics[f"{part}.{name}"] = estimate["value"]
                if not brief:
                    metrics |= {f"{part}.{name}.{end}": estimate[end] for end in ("low", "high")}
    doubt = result["not_sure"]
    metrics |= {"not_sure.share": doubt["num_not_sure"] / doubt["n"], "not_sure.accuracy_when_sure": doubt["accuracy_when_sure"]}
    if not brief:
        slices = ((column, value, found) for column, part in result["slices"].items() for value, found in part.items())
        metrics |= {f"test.{column}.{value}.accuracy": found["value"] for column, value, found in slices if "value" in found}
    if "robustness" in result:
        metrics |= {f"robustness.{name}": found["value"] for name, found in result["robustness"].items()}
        metrics |= {f"strangers.{name}.not_sure": found["not_sure"] for name, found in result["strangers"].items()}
        metrics["explanations.masking"] = result["explanations"]["masking"]["share"]
        metrics["explanations.randomised"] = result["explanations"]["randomised"]["rank_correlation"]
    return {name: float(value) for name, value in metrics.items() if np.isfinite(value)}


def _tabulate(answers: dict[str, dict[str, Answers]], exam: Exam) -> pd.DataFrame:
    """A row for each candidate and image; the slice columns are known for the test split."""
    columns = exam.origins.columns
    tables = []
    for candidate, said in answers.items():
        for split, part in said.items():
            facts = exam.images if split == "test" else exam.origins.loc[exam.origins["split"] == split, columns].reset_index(drop=True)
            tables.append(facts.assign(candidate=candidate).join(part.tabulate(exam.dataset.classes)))
    return pd.concat(tables, ignore_index=True)


def _title(subject: str, exam: Exam) -> str:
    return f"{subject}, n = {len(exam.images)}{' (generated images)' if exam.dataset.report['generated'] else ''}"
