from __future__ import annotations

import json
from pathlib import Path

import pytest

from components.common.dataset import Dataset
from components.common.metrics import state_count
from components.common.recipe import Recipe
from components.evaluate.evaluate import evaluate
from components.evaluate.report.words import list_findings, list_slices
from tests.conftest import write_mean_model


@pytest.mark.parametrize(
    ("errors", "n", "expected"), [(13, 2000, "13 errors in 2,000 images, accuracy 99.4 %"), (1, 10, "1 error in 10 images")]
)
def test_errors_are_counted_in_words(errors: int, n: int, expected: str) -> None:
    told = state_count({"errors": errors, "n": n, "value": 1 - errors / n, "low": 0.5, "high": 1.0})
    assert told.startswith(expected)


def test_many_slices_are_cut_to_those_with_the_most_errors() -> None:
    slices = {"breed": {f"breed{number:02d}": {"value": number / 20, "n": 9} for number in range(20)} | {"rare": {"n": 2}}}
    (group,) = list_slices(slices | {"size": {"quarter 1": {"value": 0.5, "n": 180}}}, {}, most=5)
    assert [row["name"] for row in group["rows"]] == [f"breed{number:02d}" for number in range(5)]
    assert (group["num_more"], group["num_small"]) == (15, 1)


def test_the_page_says_it_in_words_and_escapes_what_strangers_named(dataset: Dataset, recipe: Recipe, tmp_path: Path) -> None:
    fresh = Dataset(dataset.folder)
    rows = fresh.manifest["source"] == "dog-breed-identification"
    fresh.manifest.loc[rows, "breed"] = "<script>alert(1)</script>"
    out = tmp_path / "evaluation"
    out.mkdir()
    evaluate(fresh, {"bright": write_mean_model(tmp_path / "bright", dataset.image_size, 3.0)}, recipe, out)
    page, summary = (out / "report.html").read_text(), json.loads((out / "metrics.json").read_text())
    assert "<script>" not in page
    assert "http://" not in page
    assert "https://" not in page
    assert "that pretrained networks have probably not seen" in page
    assert "generated images" in page
    assert state_count(summary["candidates"]["bright"]["headline"]["accuracy"]) in page
    for section in ("metrics", "slices", "errors", "robustness", "calibration", "not-sure", "explanations", "candidates"):
        assert f'<section id="{section}">' in page
    assert "<title>tiny, bright: evaluation</title>" in page
    findings = list_findings(summary)
    assert findings[0]["level"] == "good"
    summary["headline"]["caveat"] = "files tell the class"
    result = summary["candidates"]["bright"]
    result["headline"]["calibration_error"]["value"] = 0.01
    for after, level in ((0.3, "good"), (0.4, "good"), (0.5, "warn")):
        result["calibration"]["log_loss"] = {"before": 0.4, "after": after}
        confounded = list_findings(summary)
        assert [finding["level"] for finding in confounded if finding["section"] == "calibration"] == [level]
    assert (confounded[0]["level"], confounded[1]["level"]) == ("warn", "bad")
    assert " on test images " in confounded[0]["text"]
    accuracy = result["headline"]["accuracy"] | {"value": 0.8, "low": 0.7, "high": 0.9}
    result["headline"]["accuracy"] = accuracy
    for low, level in ((0.3, "warn"), (0.6, "good"), (0.91, "warn")):
        folds = accuracy | {"low": low, "high": low + 0.15}
        result["out_of_fold"] = {"accuracy": folds, "suspects": result["suspects"]}
        (told,) = [finding for finding in list_findings(summary) if finding["text"].startswith("Out of fold")]
        assert (told["level"], "contradicts" in told["text"]) == (level, level == "warn")
    assert all(f'href="#{finding["section"]}"' in page for finding in findings)
    assert any(finding["level"] == "warn" and "drawn" in finding["text"] for finding in findings)
