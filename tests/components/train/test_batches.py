from __future__ import annotations

import numpy as np
import pytest

from components.common.augmentation import draw, vary
from components.common.candidate import Candidate
from components.common.dataset import Dataset
from components.common.recipe import Recipe
from components.common.weighting import weigh
from components.train.batches import TrainingBatches, ValidationBatches

CANDIDATE = Candidate(name="c", architecture="simple_cnn", mode="scratch", batch_size=20)


def test_batches_carry_the_weights_of_their_images(dataset: Dataset, recipe: Recipe) -> None:
    weighted = recipe.model_copy(update={"weights": "source"})
    expected, labels = weigh(dataset.rows("train"), "source"), dataset.labels("train")
    batches = TrainingBatches(dataset, weighted, CANDIDATE)
    drawn = [batches[index] for index in range(len(batches))]
    for number in (0, 1):
        seen = np.concatenate([weights[one_hot.argmax(axis=1) == number] for _, one_hot, weights in drawn])
        np.testing.assert_allclose(np.sort(seen), np.sort(expected[labels == number]), rtol=1e-6)


def test_an_epoch_holds_each_image_once_and_varied_like_a_stored_view(dataset: Dataset, recipe: Recipe) -> None:
    batches = TrainingBatches(dataset, recipe, CANDIDATE)
    batches.begin(epoch=3, first=0)
    drawn = np.concatenate([batches[index][0] for index in range(len(batches))])
    images = dataset.images("train")[:]
    views = vary(images, recipe.augment, draw(len(images), recipe.seed, 3))
    assert sorted(image.tobytes() for image in drawn) == sorted(view.tobytes() for view in views)
    assert (drawn != views).any()


@pytest.mark.parametrize("batch_size", [7, 20, 1000])
def test_no_batch_is_more_than_one_image_smaller_than_another(dataset: Dataset, recipe: Recipe, batch_size: int) -> None:
    batches = TrainingBatches(dataset, recipe, CANDIDATE.model_copy(update={"batch_size": batch_size}))
    sizes = [len(batches[index][0]) for index in range(len(batches))]
    assert sizes == [batches.count(index, index + 1) for index in range(len(batches))]
    assert max(sizes) - min(sizes) <= 1
    assert max(sizes) <= batch_size


def test_an_epoch_can_be_entered_in_its_middle(dataset: Dataset, recipe: Recipe) -> None:
    whole, rest = (TrainingBatches(dataset, recipe, CANDIDATE) for _ in range(2))
    whole.begin(epoch=5, first=0)
    rest.begin(epoch=5, first=2)
    assert len(rest) == len(whole) - 2
    assert rest.count(2, rest.num_in_epoch) + rest.count(0, 2) == len(dataset.images("train"))
    for expected, found in zip(whole[len(whole) - 1], rest[len(rest) - 1], strict=True):
        np.testing.assert_array_equal(found, expected)


def test_a_candidate_without_augmentation_sees_the_originals(dataset: Dataset, recipe: Recipe) -> None:
    batches = TrainingBatches(dataset, recipe, CANDIDATE.model_copy(update={"augment": False}))
    drawn = np.concatenate([batches[index][0] for index in range(len(batches))])
    assert sorted(image.tobytes() for image in drawn) == sorted(image.tobytes() for image in dataset.images("train"))


def test_only_the_labels_of_training_are_smoothed(dataset: Dataset, recipe: Recipe) -> None:
    smoothed = CANDIDATE.model_copy(update={"label_smoothing": 0.2})
    labels = TrainingBatches(dataset, recipe, smoothed)[0][1]
    assert np.unique(labels).tolist() == pytest.approx([0.1, 0.9])
    validation = ValidationBatches(dataset, smoothed)
    drawn = np.concatenate([validation[index][1] for index in range(len(validation))])
    np.testing.assert_array_equal(drawn.argmax(axis=1), dataset.labels("validation"))
    assert set(np.unique(drawn)) == {0.0, 1.0}
