"""Figures as sentences and rows, for the page and the console."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from components.common.metrics import METRICS, state_count

#: Metric -> its name, whether it is shown in percent, and what it means.
_METRICS = {
    "accuracy": ("Accuracy", True, "share of right labels"),
    "balanced_accuracy": ("Balanced accuracy", True, "mean over the classes of the share of each that is found"),
    "precision": ("Precision", True, "of what is called a class, the share that is; mean over the classes"),
    "recall": ("Recall", True, "of what is a class, the share that is called so; mean over the classes"),
    "f1": ("F1", True, "harmonic mean of precision and recall; mean over the classes"),
    "roc_auc": ("ROC AUC", False, "chance that an image of a class ranks above one of the rest; 0.5 is guessing"),
    "pr_auc": ("PR AUC", False, "precision, averaged over all thresholds"),
    "log_loss": ("Log-loss", False, "surprise at the true label; 0 is best"),
    "brier": ("Brier score", False, "squared error of the probabilities; 0 is best"),
    "calibration_error": ("Calibration error", True, "gap between the probability of the label and the share of right ones; 0 is best"),
}
assert set(_METRICS) == set(METRICS)

_ENOUGH_STRANGERS = 0.8

SLICES = {
    "source": "Source",
    "breed": "Breed",
    "breed_in_training": "Is the breed in the training data?",
    "unconfounded": "Is it of a source that holds every class?",
    "imagenet": "Have ImageNet's networks seen it?",
    "size": "Size",
    "aspect": "Aspect",
    "brightness": "Brightness",
    "sharpness": "Sharpness",
}


def list_metrics(part: Mapping[str, Mapping[str, float]]) -> list[dict[str, Any]]:
    """Rows of a table: `name`, `meaning`, `value`, `low` and `high` as text, `n`."""
    rows = []
    for key, (name, in_percent, meaning) in _METRICS.items():
        found = {end: f"{100 * part[key][end]:.2f} %" if in_percent else f"{part[key][end]:.4f}" for end in ("value", "low", "high")}
        rows.append({"name": name, "meaning": meaning, "n": int(part[key]["n"]), **found})
    return rows


def list_slices(slices: Mapping[str, Mapping[str, Any]], measures: Mapping[str, Any], most: int = 12) -> list[dict[str, Any]]:
    """Groups of rows: `title`, `meaning`, `rows` (`name`, `range`, `estimate`), those with the most errors first where they are many."""
    groups = []
    for column, found in slices.items():
        if len(found) < 2:
            # All images are no slice.
            continue
        judged = [(value, estimate) for value, estimate in found.items() if "value" in estimate]
        num_small = len(found) - len(judged)
        if len(judged) > most:
            judged = sorted(judged, key=lambda item: item[1]["value"])
        ranges = measures.get(column, {}).get("ranges", {})
        groups.append(
            {
                "title": SLICES[column],
                "meaning": measures.get(column, {}).get("meaning", ""),
                "rows": [{"name": value, "range": ranges.get(value, ""), "estimate": estimate} for value, estimate in judged[:most]],
                "num_more": max(0, len(judged) - most),
                "num_small": num_small,
            }
        )
    return [group for group in groups if group["rows"]]


def list_findings(summary: Mapping[str, Any]) -> list[dict[str, str]]:
    """What to know before relying on the winner: a level ("bad", "warn" or "good"), a sentence and the section that tells more."""
    result, headline = summary["candidates"][summary["winner"]], summary["headline"]
    level = "warn" if headline["caveat"] else "good"
    findings = [(level, f"Headline: {state_count(result['headline']['accuracy'])} on test images {headline['words']}.", "metrics")]
    if headline["caveat"]:
        findings.append(("bad", f"{headline['caveat'][:1].upper()}{headline['caveat'][1:]}.", "slices"))
    if summary["generated"]:
        findings.append(("warn", "All images are drawn, not photographed: no figure here says anything about photos.", "metrics"))
    if result["out_of_fold"]:
        held_out, folds = result["headline"]["accuracy"], result["out_of_fold"]["accuracy"]
        told = f"Out of fold, on all labelled images of that kind: {state_count(folds)}"
        if folds["high"] < held_out["low"] or held_out["high"] < folds["low"]:
            findings.append(("warn", f"{told}; that contradicts the headline, so trust neither before there are more images.", "metrics"))
        else:
            findings.append(("good", f"{told}.", "metrics"))
    suspects = (result["out_of_fold"] or result)["suspects"]
    if suspects["errors_on_suspects"]:
        findings.append(
            (
                "warn",
                f"{suspects['errors']:,} errors on {suspects['n']:,} images; of these on images whose label is publicly doubted: "
                f"{suspects['errors_on_suspects']} ({suspects['errors_on_convincing_suspects']} by two searches or more). There the label "
                "may be wrong.",
                "errors",
            )
        )
    failed = summary["failed"]
    if failed:
        findings.append(("warn", f"Without {', '.join(failed)}, which could not be trained.", "candidates"))
    findings += [_judge_calibration(result), _judge_doubt(result), _judge_strangers(result), _judge_masking(result["explanations"])]
    return [{"level": level, "text": text, "section": section} for level, text, section in findings]


def _judge_calibration(result: Mapping[str, Any]) -> tuple[str, str, str]:
    error, calibration = result["headline"]["calibration_error"], result["calibration"]
    before, after = (calibration["log_loss"][when] for when in ("before", "after"))
    level = "good" if error["value"] <= 0.05 and after <= before else "warn"
    text = (
        f"Probabilities are off by {100 * error['value']:.1f} % on average; the temperature of {calibration['temperature']:.2f} "
        f"changed the log-loss on the headline's images from {before:.4f} to {after:.4f}."
    )
    return level, text, "calibration"


def _judge_doubt(result: Mapping[str, Any]) -> tuple[str, str, str]:
    doubt = result["not_sure"]
    text = (
        f'"Not sure" would be said of {doubt["num_not_sure"]:,} of {doubt["n"]:,} images, {doubt["num_errors_not_sure"]} of '
        f"{doubt['num_errors']} errors among them; the others are right in {100 * doubt['accuracy_when_sure']:.1f} % of cases."
    )
    return "good", text, "not-sure"


def _judge_strangers(result: Mapping[str, Any]) -> tuple[str, str, str]:
    kinds = result["strangers"]
    num_pictures = sum(found["n"] for found in kinds.values())
    share = sum(found["n"] * found["not_sure"] for found in kinds.values()) / num_pictures
    weakest = min(kinds, key=lambda kind: kinds[kind]["not_sure"])
    text = (
        f'Of {num_pictures} drawn pictures that are none of the classes, {100 * share:.0f} % would be answered with "not sure"; '
        f"the fewest of the kind {weakest}, {100 * kinds[weakest]['not_sure']:.0f} %. Photos of other things are harder."
    )
    return ("good" if share >= _ENOUGH_STRANGERS else "warn"), text, "not-sure"


def _judge_masking(explanations: Mapping[str, Any]) -> tuple[str, str, str]:
    masking, alike = explanations["masking"], explanations["randomised"]["rank_correlation"]
    level = "good" if masking["low"] > 0.5 and alike < 0.5 else "warn"
    text = (
        f"Heat maps: masking the hot part lowers the score more than masking elsewhere in {100 * masking['share']:.0f} % of "
        f"{masking['n']} images; the map of a network with shuffled weights has a rank correlation of {alike:.2f} with the real one."
    )
    return level, text, "explanations"
