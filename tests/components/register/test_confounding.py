from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from components.common.confounding import find_clean
from components.common.dataset import REPORT, Dataset
from components.common.recipe import Gate
from components.register.answers import Answers
from components.register.confounding import judge_confounding
from components.register.gate import Challenger, decide


def audited(dataset: Dataset, folder: Path, level: str, **aucs: float) -> Dataset:
    """The shared dataset as if its audit had found something else."""
    shutil.copytree(dataset.folder, folder)
    probes = {
        name.replace("__", ".").replace("_from_file.dogs_vs_cats", "_from_file.dogs-vs-cats"): {"auc": auc} for name, auc in aucs.items()
    }
    report = dataset.report | {"audit": {"level": level, "finding": f"confounding: {level}", "probes": probes}}
    (folder / REPORT).write_text(json.dumps(report))
    return Dataset(folder)


def answer(dataset: Dataset, right: np.ndarray) -> Answers:
    """Answers that are right where `right`."""
    rows = dataset.rows("test")
    labels = dataset.labels("test")
    given = np.where(right, labels, 1 - labels)
    rows = rows[["id", "sha256", "label", "group", "source"]].assign(clean=rows["id"].isin(find_clean(dataset, "test")))
    return Answers(tuple(dataset.classes), rows, np.eye(2)[given] * 0.8 + 0.1)


def test_where_files_tell_nothing_every_image_counts(dataset: Dataset) -> None:
    assert dataset.report["audit"]["level"] in ("none", "slight")  # type: ignore[index]
    assert find_clean(dataset, "test") == frozenset(dataset.rows("test")["id"])


@pytest.mark.parametrize("level", ["strong", "severe", "unknown"])
def test_else_only_sources_that_hold_every_class_count(dataset: Dataset, level: str, tmp_path: Path) -> None:
    told = audited(dataset, tmp_path / "told", level, class_from_file=0.95, class_from_file__dogs_vs_cats=0.55)
    rows = told.rows("test")
    assert find_clean(told, "test") == frozenset(rows.loc[rows["source"] == "dogs-vs-cats", "id"])


def test_a_source_whose_files_tell_the_class_by_themselves_does_not_count(dataset: Dataset, tmp_path: Path) -> None:
    told = audited(dataset, tmp_path / "told", "severe", class_from_file=0.95, class_from_file__dogs_vs_cats=0.8)
    assert find_clean(told, "test") == frozenset()


def test_a_source_that_could_not_be_asked_counts_only_where_it_is_alone(dataset: Dataset, tmp_path: Path) -> None:
    told = audited(dataset, tmp_path / "told", "unknown")
    assert find_clean(told, "test") == frozenset()
    told.manifest.loc[told.manifest["source"] != "dogs-vs-cats", "split"] = None
    assert find_clean(told, "test") == frozenset(told.rows("test")["id"])


def test_a_gap_of_few_images_does_not_hide_one_that_is_shown(dataset: Dataset) -> None:
    """Cats: 6 of 6 where the source tells, 3 of 4 elsewhere. Dogs: 400 of 400 and 160 of 200."""
    kinds = [("cat", False, 6, 6), ("cat", True, 3, 4), ("dog", False, 400, 400), ("dog", True, 160, 200)]
    rows = pd.DataFrame(
        {"label": label, "clean": clean, "right": number < right} for label, clean, right, total in kinds for number in range(total)
    )
    said = np.where((rows["label"] == "cat") == rows["right"], 0, 1)
    rows["group"] = rows.index.astype(str)
    gap = judge_confounding(Answers(("cat", "dog"), rows, np.eye(2)[said]), dataset).gap
    assert gap is not None
    assert gap.label == "dog"
    assert gap.difference.low > 0.1


def test_a_model_that_goes_by_the_source_is_refused(dataset: Dataset, tmp_path: Path) -> None:
    """One that knows every dog of the breeds' archive, and guesses where both classes come from one archive; beside an honest one."""
    told = audited(dataset, tmp_path / "told", "severe", class_from_file=0.95, class_from_file__dogs_vs_cats=0.55)
    rows, rule = told.rows("test"), Gate(min_images=20)
    by_source = (rows["source"] != "dogs-vs-cats").to_numpy() | (np.arange(len(rows)) % 2 == 0)
    honest = np.arange(len(rows)) % 20 > 0

    def decision(right: np.ndarray) -> str:
        confounding = judge_confounding(answer(told, right), told)
        challenger = Challenger({"value": 0.9, "low": 0.8, "high": 0.95, "n": 30}, 0.3, 0.69, 1.0, 1.0, 0.0, confounding)
        return decide(challenger, None, rule).verdict

    assert "where the source gives the class away than where it does not, so the source carries the model" in decision(by_source)
    assert decision(honest).startswith("promoted")
    told = audited(dataset, tmp_path / "worse", "severe", class_from_file=1.0, class_from_file__dogs_vs_cats=1.0)
    assert "only 0 of" in decision(honest)
