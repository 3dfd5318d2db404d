from __future__ import annotations

import pytest

from components.common.dataset import Dataset
from components.common.recipe import Recipe
from components.fuse.outlook import foresee_gate


def wanting(recipe: Recipe, min_images: int, confounding: str = "refuse") -> Recipe:
    return recipe.model_copy(update={"gate": recipe.gate.model_copy(update={"min_images": min_images, "confounding": confounding})})


def test_too_few_test_images_for_the_gate_are_foreseen(dataset: Dataset, recipe: Recipe) -> None:
    found = len(dataset.rows("test"))
    assert foresee_gate(dataset, wanting(recipe, found)) == ""
    warning = foresee_gate(dataset, wanting(recipe, found + 1))
    assert warning.startswith(f"{found} test images; to replace a champion the gate wants {found + 1} (gate.min_images): ")
    assert warning.endswith("split.test=0.3, or more images"), "the recipe has 0.25"
    assert foresee_gate(dataset, wanting(recipe, 10 * found)).endswith("(gate.min_images): more images")


@pytest.mark.parametrize(("level", "within", "num_clean"), [("severe", 0.55, "some"), ("severe", 0.95, "none"), ("unknown", 0.55, "some")])
def test_only_clean_images_count_where_files_may_tell_the_class(
    dataset: Dataset, recipe: Recipe, level: str, within: float, num_clean: str
) -> None:
    told = Dataset(dataset.folder)
    told.report["audit"] = {"level": level, "probes": {"class_from_file.dogs-vs-cats": {"auc": within}}}
    rows = told.rows("test")
    clean = (rows["source"] == "dogs-vs-cats").sum() if num_clean == "some" else 0
    rule = wanting(recipe, clean + 1)
    warning = foresee_gate(told, rule)
    assert f"of which {clean} do not give their class away" in warning
    assert "to promote anything the gate wants" in warning
    assert ("gate.confounding=report" in warning) == (num_clean == "none")
    assert foresee_gate(told, wanting(recipe, clean + 1, "report")) == ""
