"""Two registered versions beside each other, from the answers on the test split that each version keeps.

In: two entries of the registry. Out: what a person would ask of both, and the statistics of the gate on the images that both answered,
neither was trained on and the first one's rule judges by. No model is run.
"""

from __future__ import annotations

import json
import math
from typing import Any

from components.common import registry
from components.common.errors import PawflowError
from components.common.files import VERDICT_FILE
from components.common.recipe import Gate
from components.register.answers import Answers, compare, select_judged


def compare_versions(first: registry.Entry, second: registry.Entry) -> dict[str, Any]:
    """Facts about both, and a comparison by the rule under which the first was judged.

    Raises:
        PawflowError: A version keeps no answers, the classes differ, or no image is common to both.
    """
    verdicts = [json.loads(registry.fetch(entry.model, entry.version, VERDICT_FILE).read_text()) for entry in (first, second)]
    rule = Gate.model_validate(verdicts[0]["rule"])
    mine, theirs, num_telling = _find_common(first, second, rule)
    found = compare(mine, theirs, rule, seed=0)
    numbers = (found.challenger, found.champion)
    facts = [
        {"version": entry.version, "aliases": ", ".join(entry.aliases), rule.metric: round(number, 4)} | _state(entry, verdict)
        for entry, verdict, number in zip((first, second), verdicts, numbers, strict=True)
    ]
    worse = [part.name for part in found.slices if part.loss > rule.slice_margin]
    statement = (
        f"On the {found.num_images} test images that both answered and neither was trained on, the gain in {rule.metric} of version "
        f"{first.version} over version {second.version} is {found.gain} (95 %); right by version {first.version} alone: "
        f"{found.only_challenger_right}, by version {second.version} alone: {found.only_champion_right}, McNemar's exact "
        f"p = {found.p_value:.3g}; log-loss of version {second.version} minus that of version {first.version}: {found.calibration}."
        + (f" Version {first.version} is lower on: {', '.join(worse)}." if worse else "")
        + (f" Left out, because source or file give the class away: {num_telling}." if num_telling else "")
        + (" Source or file give the class of all of them away." if rule.confounding == "refuse" and not mine.rows["clean"].any() else "")
    )
    counts = {"images": found.num_images, "left_out": num_telling}
    return {"first": facts[0], "second": facts[1], **counts, "p_value": found.p_value, "statement": statement}


def _find_common(first: registry.Entry, second: registry.Entry, rule: Gate) -> tuple[Answers, Answers, int]:
    """The answers of both on the same images, and how many others give their class away, so that the rule does not judge by them."""
    answers, seen = [], frozenset[str]()
    for entry in (first, second):
        answers.append(Answers.load(registry.fetch(entry.model, entry.version, registry.ANSWERS_FILE)))
        seen |= registry.download_version(entry.model, entry.version).trained_on
    mine, theirs = answers
    if mine.classes != theirs.classes:
        raise PawflowError(f"version {first.version} knows the classes {mine.classes}, version {second.version} {theirs.classes}")
    shared = (set(mine.rows["sha256"]) & set(theirs.rows["sha256"])) - seen
    common = shared & set(select_judged(mine, rule).rows["sha256"])
    if not common:
        unless = " and whose source or file does not give its class away" if shared else ""
        raise PawflowError(
            f"no test image of version {first.version} is one of version {second.version} that neither was trained on{unless}; "
            "run the pipeline with the newer data, which compares both on the same images"
        )
    taken = [_sort(part.take(part.rows["sha256"].isin(common).to_numpy())) for part in answers]
    return taken[0], taken[1], len(shared) - len(common)


def _sort(answers: Answers) -> Answers:
    order = answers.rows["sha256"].argsort().to_numpy()
    return Answers(answers.classes, answers.rows.iloc[order].reset_index(drop=True), answers.probabilities[order])


def _state(entry: registry.Entry, verdict: dict[str, Any]) -> dict[str, Any]:
    own = verdict["challenger"]
    log_loss = own["log_loss"]
    return {
        "candidate": entry.tags.get("candidate", ""),
        "dataset": entry.tags.get("dataset_digest", "")[:12],
        "log-loss on its own test images": round(log_loss, 4) if math.isfinite(log_loss) else "not a number",
        "ms a photo": round(own["latency_ms"], 2),
        "MB": round(own["megabytes"], 2),
        "served as": entry.tags.get("serve", ""),
        "verdict": entry.tags.get("verdict", ""),
        "registered (UTC)": entry.created[:16],
    }
