"""What held-out photos are like to the network that will serve, for whoever watches it later (`serving.drift`).

In: the winner and the dataset. Out: the distribution of brightness, sharpness, size, probability and so on over the validation and test
photos, measured by the code that the gateway measures with, on the squares that the gateway's decoder made.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from components.common.dataset import Dataset
from components.common.parallel import map_on_all_cores
from components.common.progress import say, track
from components.register.serving_form import ServingForm
from serving.drift import Reference
from serving.predictor import Predictor

#: The network sees neither while it learns; on what it has learned it would be surer than it will be.
_SPLITS = ("validation", "test")
#: Photos of each split; more would hardly change a tenth, and each costs a pass through the network.
_MOST_PHOTOS = 2000


def describe_held_out(candidate: Path, form: ServingForm, dataset: Dataset) -> Reference:
    """Measure held-out photos, at most 2000 of each split, spread evenly.

    Args:
        candidate: Folder of the winner.
        form: Which of its networks serves.
        dataset: Holds the photos.
    """
    predictor = form.load(candidate)
    measured = np.concatenate([_measure(predictor, dataset, split) for split in _SPLITS])
    say(f"{len(measured)} held-out photos are the reference for monitoring")
    return Reference.describe(measured, len(dataset.classes))


def _measure(predictor: Predictor, dataset: Dataset, split: str) -> NDArray[np.float64]:
    images, rows = dataset.images(split), dataset.rows(split)
    width, height = rows["width"].to_numpy(np.int64), rows["height"].to_numpy(np.int64)
    chosen = np.linspace(0, len(images) - 1, min(len(images), _MOST_PHOTOS)).astype(np.int64)

    def look(row: int) -> NDArray[np.float64]:
        return predictor.measure(images[row], int(width[row]), int(height[row]))

    return np.stack(list(track(map_on_all_cores(look, chosen.tolist()), f"measuring {split} photos", total=len(chosen))))
