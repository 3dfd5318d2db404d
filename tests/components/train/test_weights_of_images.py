from __future__ import annotations

import numpy as np
import pytest

from components.common.dataset import Dataset
from components.common.recipe import Recipe
from components.common.weighting import weigh
from components.train import frozen
from components.train.fitting import TrainingBatches


def test_batches_carry_the_weights_of_their_images(dataset: Dataset, recipe: Recipe) -> None:
    rows, labels = dataset.rows("train"), dataset.labels("train")
    weights = weigh(rows, "source")
    batches = TrainingBatches(dataset.images("train"), labels, recipe.augment, 16, 0, weights)
    drawn = [batches[index] for index in range(len(batches))]
    for number in (0, 1):
        seen = np.concatenate([weight[label == number] for _, label, weight in drawn])
        np.testing.assert_allclose(np.sort(seen), np.sort(weights[labels == number]), rtol=1e-6)


def test_a_head_heeds_the_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    biases: list[float] = []
    monkeypatch.setattr(frozen, "set_head", lambda network, kernel, bias: biases.append(bias[1] - bias[0]))
    generator = np.random.default_rng(0)
    labels = np.arange(120) % 2
    features = (generator.normal(size=(120, 4)) + 0.3 * labels[:, np.newaxis]).astype(np.float32)
    groups = [str(number % 12) for number in range(120)]
    for heavy in (1.0, 9.0):
        frozen.fit_head(None, features, labels, groups, 0, np.where(labels == 1, heavy, 1.0))
    assert biases[1] > biases[0] + 1
