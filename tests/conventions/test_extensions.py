"""What is added to the project is added in every place that CONTRIBUTING.md names: in the code, and in the tables that people read."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable
from pathlib import Path
from typing import get_args

import pytest

from components.common.bootstrap import RESAMPLED
from components.common.metrics import METRICS
from components.common.recipe import LOWER_IS_BETTER, Metric
from components.download.sources import PROVIDERS
from components.fuse.layouts import LAYOUTS
from components.train.models import ARCHITECTURES
from components.train.models.options import Pretrained, PretrainedName

ROOT = Path(__file__).parents[2]
WORDS = "components/evaluate/report/words.py"


def read_worded_metrics() -> set[str]:
    """Keys of `_METRICS`, read rather than imported: the module itself refuses a set that is not whole."""
    for node in ast.parse((ROOT / WORDS).read_text()).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "_METRICS":
            return set(ast.literal_eval(node.value))
    raise AssertionError(f"{WORDS} has no _METRICS")


def read_first_column(document: str, heading: str) -> set[str]:
    """Names in the first column of the table with that heading; "`lite0`, `1`" names lite0 and lite1."""
    _, _, rows = (ROOT / document).read_text().partition(f"\n| {heading} |")
    assert rows, f"{document} has no table headed {heading}"
    names: list[str] = []
    for row in rows.split("\n\n")[0].splitlines()[2:]:
        for name in re.findall(r"`(\w+)`", row.split("|")[1]):
            names.append(names[-1][: -len(name)] + name if name.isdigit() else name)
    return set(names)


def require_same(what: str, expected: Iterable[str], found: dict[str, Iterable[str]]) -> None:
    wrong = []
    for place, names in found.items():
        lacking, unknown = set(expected) - set(names), set(names) - set(expected)
        wrong += [f"{place} lacks the {what} {name}" for name in sorted(lacking)]
        wrong += [f"{place} has the {what} {name}, which there is not" for name in sorted(unknown)]
    assert not wrong, "\n".join(wrong)


def test_a_metric_is_in_all_its_places() -> None:
    places: dict[str, Iterable[str]] = {
        "METRICS (components/common/metrics.py)": METRICS,
        "RESAMPLED (components/common/bootstrap.py)": RESAMPLED,
        "Metric (components/common/recipe.py)": get_args(Metric),
        f"_METRICS ({WORDS})": read_worded_metrics(),
        "docs/evaluation.md": read_first_column("docs/evaluation.md", "name | definition"),
    }
    require_same("metric", set[str]().union(*places.values()), places)
    assert set(get_args(Metric)) >= LOWER_IS_BETTER


def test_an_architecture_is_in_all_its_places() -> None:
    require_same(
        "architecture", ARCHITECTURES, {"components/train/README.md": read_first_column("components/train/README.md", "name | what it is")}
    )
    pretrained = {name for name, architecture in ARCHITECTURES.items() if architecture.options is Pretrained}
    require_same("pretrained architecture", pretrained, {"PretrainedName (components/train/models/options.py)": get_args(PretrainedName)})


def test_a_provider_and_a_layout_are_in_their_tables() -> None:
    require_same("provider", PROVIDERS, {"components/download/README.md": read_first_column("components/download/README.md", "provider")})
    require_same("layout", LAYOUTS, {"components/fuse/README.md": read_first_column("components/fuse/README.md", "layout")})


def test_what_is_missing_is_named_with_its_place() -> None:
    with pytest.raises(AssertionError, match=r"here lacks the metric b\n.*here has the metric c"):
        require_same("metric", ["a", "b"], {"here": ["a", "c"]})
