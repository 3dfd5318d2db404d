"""What held-out photos are like: the same numbers that the gateway will get from the encoded files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from components.common import registry, tracking
from components.common.dataset import Dataset
from components.common.recipe import Recipe
from components.register import reference as module
from components.register.certificate import pick_golden_photos
from components.register.publishing import registered
from components.register.reference import describe_held_out
from components.register.serving_form import ServingForm
from serving.drift import MEASURES, Reference
from serving.predictor import Predictor
from tests.components.register.conftest import evaluate_model
from tests.components.register.test_register import judge_candidate


def load(dataset: Dataset, recipe: Recipe, folder: Path) -> tuple[Path, ServingForm]:
    evaluated = evaluate_model(folder, dataset, 0.0)
    return evaluated.candidate, judge_candidate(evaluated, None, dataset, recipe)[1]


def test_a_file_is_measured_as_its_stored_square_was(dataset: Dataset, one_candidate: Recipe, tmp_path: Path) -> None:
    candidate, form = load(dataset, one_candidate, tmp_path)
    predictor, validation = Predictor(candidate), dataset.rows("validation")
    sizes = zip(validation["width"], validation["height"], strict=True)
    stored = [predictor.measure(pixels, *size) for pixels, size in zip(dataset.images("validation"), sizes, strict=True)]
    encoded = [predictor.examine(data).measured for _, data in dataset.originals()]
    # Not nearly so, but the same: any difference would look like drift some day.
    assert describe_held_out(candidate, form, dataset) == Reference.describe(np.stack(stored + encoded), len(dataset.classes))


def test_of_many_photos_some_are_measured_from_the_first_to_the_last(
    dataset: Dataset, one_candidate: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    candidate, form = load(dataset, one_candidate, tmp_path)
    predictor, measured = Predictor(candidate), []
    for split in ("validation", "test"):
        rows, images = dataset.rows(split), dataset.images(split)
        for row in (0, (len(rows) - 1) // 2, len(rows) - 1):
            measured.append(predictor.measure(images[row], int(rows["width"].iloc[row]), int(rows["height"].iloc[row])))
    monkeypatch.setattr(module, "_MOST_PHOTOS", 3)
    assert describe_held_out(candidate, form, dataset) == Reference.describe(np.stack(measured), len(dataset.classes))


def test_a_version_carries_its_reference(dataset: Dataset, one_candidate: Recipe, tmp_path: Path) -> None:
    candidate, form = load(dataset, one_candidate, tmp_path)
    golden = pick_golden_photos(dataset)
    with tracking.step_run("register", one_candidate, ""), registered(candidate, form, golden, dataset, one_candidate) as made:
        reference = Reference.read(registry.download_version(one_candidate.model, made.version).folder)
    assert reference is not None
    assert reference.num_photos == len(dataset.rows("validation")) + len(dataset.rows("test"))
    assert set(reference.measures) == set(MEASURES)
