"""What a frozen candidate would say of each image if it had not learned from it: a verdict on all labelled images instead of few.

A test split of some hundred images leaves an interval of several percent. Features are cached, so fitting the head anew costs little: the
images of all splits are divided into folds, whole groups at a time, and each fold is predicted by a head that learned from the others, with
the penalty and the temperature that were chosen before. Augmented views are learned from only where their image is not predicted. Such
heads see a little more data than the candidate's own, that of the other splits; the candidate itself never does.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import softmax
from sklearn.model_selection import StratifiedGroupKFold

from components.common.candidate import Candidate
from components.common.dataset import SPLITS, Dataset
from components.common.progress import track
from components.common.recipe import Recipe
from components.common.store import artifact_digest
from components.common.weighting import weigh
from components.train.frozen import compute_features, label_training_images, list_training_images
from components.train.heads import CLASSIFIERS, Rows

_NUM_FOLDS = 5
#: Rows that one head learns from, at most; so the cost stays bounded, and the estimate is on the safe side where there are more.
_MOST_ROWS = 20_000


def predict_out_of_fold(
    dataset: Dataset,
    views: Path,
    recipe: Recipe,
    candidate: Candidate,
    chosen: Mapping[str, Any],
    temperature: float,
) -> pd.DataFrame:
    """Predict every image of every split by a head that has learned from other groups only.

    Args:
        dataset: All of its splits are used.
        views: Output of the augment step.
        recipe: The experiment.
        candidate: What was trained.
        chosen: Parameters of its head: the penalty.
        temperature: By which its head was divided.

    Returns:
        Columns `id`, `fold` and `probability_<class>`, a row for each image.
    """
    images = pd.concat([dataset.rows(split) for split in SPLITS], ignore_index=True)
    digest, num_train = artifact_digest(dataset.folder), len(dataset.rows("train"))
    held_out = {split: (dataset.images(split), f"{digest}/{split}") for split in SPLITS[1:]}
    features = compute_features(dataset, candidate, list_training_images(dataset, views, recipe, candidate) | held_out)
    num_held_out = len(images) - num_train
    learned = label_training_images(features[:-num_held_out], dataset, recipe)
    originals = Rows(
        np.concatenate([features[:num_train], features[-num_held_out:]]),
        np.concatenate([dataset.labels(split) for split in SPLITS]),
        images["group"].to_numpy(str),
        weigh(images, recipe.weights),
    )
    views_of_images = learned.take(np.arange(num_train, len(learned.labels)))
    probabilities = np.empty((len(images), len(dataset.classes)))
    fold_of_image = np.empty(len(images), np.int64)
    folds = StratifiedGroupKFold(_NUM_FOLDS, shuffle=True, random_state=recipe.seed)
    divided = folds.split(originals.features, originals.labels, originals.groups)
    for number, (others, fold) in enumerate(track(divided, "heads of five folds", total=_NUM_FOLDS, unit="fold")):
        usable = ~np.isin(views_of_images.groups, originals.groups[fold])
        rows = originals.take(others).join(views_of_images.take(usable)).sample(_MOST_ROWS, recipe.seed)
        head = CLASSIFIERS[candidate.classifier](rows, recipe.seed, chosen)
        probabilities[fold] = softmax((originals.features[fold] @ head.weights + head.bias) / temperature, axis=1)
        fold_of_image[fold] = number
    predicted = pd.DataFrame({"id": images["id"], "fold": fold_of_image})
    return predicted.join(pd.DataFrame(probabilities, columns=[f"probability_{name}" for name in dataset.classes]))
