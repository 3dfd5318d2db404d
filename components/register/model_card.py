"""The model card of a version: what it is, what it was made from, how good it is, for what, and at what cost.

In: the verdict, the certificate, the dataset's report and what training cost. Out: the same facts as Markdown, for the description of
the version, and as one HTML page without scripts or network. Names of files and sources come from strangers: the page escapes them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from components.common.candidate import Candidate
from components.common.dataset import Dataset
from components.common.metrics import estimate_accuracy, state_count
from components.common.registry import LONGEST_TEXT
from components.register.answers import Answers, find_slices
from components.register.certificate import Certificate
from components.register.register import Verdict

_SMALLEST_SLICE = 10
_MOST_CLASSES = 20
#: In the Markdown; the page has all.
_MOST_SLICES = 10


@dataclass(frozen=True)
class ModelCard:
    """A version's card, in both forms."""

    markdown: str
    page: str


def write_card(
    verdict: Verdict, certificate: Certificate, answers: Answers, dataset: Dataset, candidate: Candidate, costs: dict[str, float]
) -> ModelCard:
    """Render the card.

    Args:
        verdict: With the number of the version.
        certificate: The version's.
        answers: Of the network that serves, on the test split.
        dataset: What it was trained and judged on.
        candidate: Its entry in the recipe.
        costs: Metrics that training reported.
    """
    templates = Environment(
        loader=PackageLoader("components.register", "."),
        autoescape=select_autoescape(["html"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters["plain"] = _plain
    slices = _judge_slices(answers)
    facts = {
        "verdict": verdict,
        "metrics": {name: found for name, found in verdict.metrics["test"].items() if "value" in found},
        "headline": state_count(verdict.metrics["headline"]["accuracy"]),
        "certificate": certificate,
        "report": dataset.report,
        "classes": dataset.classes,
        "some_classes": _name_some(dataset.classes),
        "candidate": candidate,
        "costs": costs,
        "slices": slices,
        "limits": _list_limits(verdict, dataset),
        "about_int8": _explain_int8(certificate),
    }
    markdown = templates.get_template("model_card.md").render(**facts, num_slices=_MOST_SLICES)
    if len(markdown) > LONGEST_TEXT:
        # The registry would cut it in the middle of a line.
        markdown = templates.get_template("model_card.md").render(**facts, num_slices=0)
    return ModelCard(markdown, templates.get_template("model_card.html").render(**facts))


def _judge_slices(answers: Answers) -> list[dict[str, Any]]:
    """Accuracy on every slice that is not tiny, the worst first."""
    judged = [
        {"name": name, **estimate_accuracy(answers.labels[places], answers.probabilities[places], answers.groups[places])}
        for name, places in find_slices(answers.rows, _SMALLEST_SLICE).items()
    ]
    return sorted(judged, key=lambda part: float(part["value"]))


def _list_limits(verdict: Verdict, dataset: Dataset) -> list[str]:
    confounding = verdict.challenger["confounding"]
    limits = [
        f"It always answers one of {_name_some(dataset.classes)}, whatever the photo shows; see `not_sure` in the answer.",
        f"It sees squares of {dataset.image_size} pixels ({dataset.resize.replace('_', ' ')}); what is smaller than that is lost on it.",
        "Figures hold for photos like those of the test split: the intervals allow for chance, not for photos of another kind.",
        f"Whether files give the class away: {confounding['finding']}",
    ]
    if verdict.generated:
        limits.insert(0, "Trained and judged on generated images: no figure here says anything about photos.")
    return limits


def _explain_int8(certificate: Certificate) -> str:
    """Whose figures the evaluation's are, where another network than the one that it judged serves."""
    if certificate.form != "int8":
        return ""
    same = f"{100 * (certificate.same_labels or 0):.2f} % of the validation images"
    return f"Headline and test metrics are of the float32 network; the 8-bit one, which serves and which the gate judged, agrees on {same}."


def _name_some(classes: Sequence[str]) -> str:
    """All where they are few: the registry's description has no room for hundreds."""
    return ", ".join(classes if len(classes) <= _MOST_CLASSES else [*classes[:_MOST_CLASSES], f"{len(classes) - _MOST_CLASSES} more"])


def _plain(text: object) -> str:
    """Text from elsewhere inside a Markdown table: on one line, and no mark-up."""
    return " ".join(str(text).split()).translate({ord(mark): f"\\{mark}" for mark in "|`*_<>[]"})
