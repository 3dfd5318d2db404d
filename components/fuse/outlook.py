"""What the gate will make of a dataset, said before anything is trained on it."""

from __future__ import annotations

import math

from components.common.confounding import HARMLESS_LEVELS, find_clean, read_audit
from components.common.dataset import Dataset
from components.common.recipe import Recipe

#: A share of test images from which too few are left to train on.
_LARGEST_SHARE = 0.4


def foresee_gate(dataset: Dataset, recipe: Recipe) -> str:
    """A warning where the test images are too few for the recipe's gate, with the remedy; empty where they suffice."""
    gate, num_images = recipe.gate, len(dataset.rows("test"))
    judged = num_images
    refused = gate.confounding == "refuse" and read_audit(dataset)["level"] not in HARMLESS_LEVELS
    if refused:
        judged = len(find_clean(dataset, "test"))
    if judged >= gate.min_images:
        return ""
    counted = f"{num_images} test images" + (f", of which {judged} do not give their class away by their file or source" if refused else "")
    aim = "promote anything" if refused else "replace a champion"
    return f"{counted}; to {aim} the gate wants {gate.min_images} (gate.min_images): {_advise(recipe, judged)}"


def _advise(recipe: Recipe, judged: int) -> str:
    # In steps of 5 %, because the split is by hash and hits no share exactly.
    needed = math.ceil(20 * recipe.split.test * recipe.gate.min_images / judged) / 20 if judged else 1.0
    more = "more images" if judged else "images of which the files do not tell the class, or gate.confounding=report"
    return f"split.test={needed:g}, or {more}" if needed <= _LARGEST_SHARE else more
