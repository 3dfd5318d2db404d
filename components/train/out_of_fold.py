"""What a frozen candidate would say of each image if it had not learned from it: a verdict on all labelled images instead of few.

A test split of some hundred images leaves an interval of several percent. Features are cached, so fitting the head anew costs little: the
images of all splits are divided into folds, whole groups at a time, and each fold is predicted by a head that learned from the others, with
the penalty and the temperature that were chosen before, and the shares of the classes that the candidate's own head learned from. Augmented
views are learned from only where their image is not predicted. Such heads see a little more data than the candidate's own, that of the
other splits; the candidate itself never does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
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
from components.train.heads import CLASSIFIERS, Rows, sample_rows

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
    features, _ = compute_features(dataset, candidate, list_training_images(dataset, views, recipe, candidate) | held_out)
    num_held_out = len(images) - num_train
    learned, weights = label_training_images(features[:-num_held_out], dataset, recipe), weigh(images, recipe.weights)
    # In the order of the features: training images, their views, images held out.
    rows = Rows(
        features,
        np.concatenate([learned.labels, *(dataset.labels(split) for split in SPLITS[1:])]),
        np.concatenate([learned.groups, images["group"].to_numpy(str)[num_train:]]),
        np.concatenate([weights[:num_train], learned.weights[num_train:], weights[num_train:]]),
    )
    row_of_image = np.concatenate([np.arange(num_train), np.arange(len(features) - num_held_out, len(features))])
    probabilities = np.empty((len(images), len(dataset.classes)))
    fold_of_image = np.empty(len(images), np.int64)
    folds = StratifiedGroupKFold(_NUM_FOLDS, shuffle=True, random_state=recipe.seed)
    divided = folds.split(row_of_image, rows.labels[row_of_image], rows.groups[row_of_image])
    for number, (_, fold) in enumerate(track(divided, "heads of five folds", total=_NUM_FOLDS, unit="fold")):
        predicted = row_of_image[fold]
        others = np.flatnonzero(~np.isin(rows.groups, rows.groups[predicted]))
        learned_from = others[sample_rows(rows.labels[others], _MOST_ROWS, recipe.seed)]
        head = CLASSIFIERS[candidate.classifier](_weigh_classes(rows.take(learned_from), learned), recipe.seed, chosen)
        # A class so rare that none of it is among those learned from is impossible to that head.
        scores = np.full((len(predicted), len(dataset.classes)), -np.inf)
        scores[:, np.unique(rows.labels[learned_from])] = features[predicted] @ head.weights + head.bias
        probabilities[fold] = softmax(scores / temperature, axis=1)
        fold_of_image[fold] = number
    table = pd.DataFrame({"id": images["id"], "fold": fold_of_image})
    return table.join(pd.DataFrame(probabilities, columns=[f"probability_{name}" for name in dataset.classes]))


def _weigh_classes(rows: Rows, like: Rows) -> Rows:
    """The rows, with as much weight in all, of which each class has the share that it has in `like`.

    Only the training split may be balanced. A head that learned from all splits would lean to the classes that are frequent there, and a
    temperature below 1, as weak heads of few images have, would make of the leaning a certainty.
    """
    found, wanted = (np.bincount(each.labels, each.weights) / each.weights.sum() for each in (rows, like))
    return replace(rows, weights=rows.weights * wanted[rows.labels] / found[rows.labels])
