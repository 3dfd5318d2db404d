from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from components.train import heads
from components.train.heads import CLASSIFIERS, Rows, fit_logistic, sample_rows


def draw(num_classes: int, num_rows: int = 240, shift: float = 1.0, seed: int = 0) -> Rows:
    generator = np.random.default_rng(seed)
    labels = np.arange(num_rows) % num_classes
    features = generator.normal(size=(num_rows, 6)) * [1, 50, 1, 1, 1, 1] + 3
    features[:, 0] += shift * labels
    return Rows(features.astype(np.float32), labels, (np.arange(num_rows) // 8).astype(str), np.ones(num_rows))


@pytest.mark.parametrize("num_classes", [2, 4])
def test_logistic_equals_scikit_learn(num_classes: int) -> None:
    rows = draw(num_classes)
    head = fit_logistic(rows, seed=0)
    expected = make_pipeline(StandardScaler(), LogisticRegression(C=head.params["inverse_penalty"], max_iter=2000))
    expected.fit(rows.features, rows.labels)
    found = softmax(rows.features @ head.weights + head.bias, axis=1)
    np.testing.assert_allclose(found, expected.predict_proba(rows.features), atol=1e-4)


@pytest.mark.parametrize("num_classes", [2, 4])
@pytest.mark.parametrize("classifier", CLASSIFIERS)
def test_probabilities_are_better_than_the_share_of_each_class(classifier: str, num_classes: int) -> None:
    rows, unseen = draw(num_classes), draw(num_classes, num_rows=400, seed=1)
    head = CLASSIFIERS[classifier](rows, 0)
    assert head.weights.shape == (6, num_classes)
    assert head.bias.shape == (num_classes,)
    assert len(head.curve) == 4
    assert log_loss(unseen.labels, softmax(unseen.features @ head.weights + head.bias, axis=1)) < 0.9 * np.log(num_classes)


@pytest.mark.parametrize("classifier", CLASSIFIERS)
def test_a_head_heeds_the_weights(classifier: str) -> None:
    rows, shares = draw(2, shift=0.3), []
    for heavy in (1.0, 9.0):
        head = CLASSIFIERS[classifier](Rows(rows.features, rows.labels, rows.groups, np.where(rows.labels == 1, heavy, 1.0)), 0)
        shares.append((rows.features @ head.weights + head.bias).argmax(axis=1).mean())
    assert shares[1] > shares[0] + 0.2


@pytest.mark.parametrize("classifier", CLASSIFIERS)
def test_a_class_that_a_fold_has_nothing_of_does_not_spoil_the_choice(classifier: str) -> None:
    rows = draw(5)
    # All of the class in the middle, and half of the last, are of one group.
    groups = np.where((rows.labels == 2) | ((rows.labels == 4) & (np.arange(240) % 2 == 0)), "rare", rows.groups)
    head = CLASSIFIERS[classifier](replace(rows, groups=groups), 0)
    assert np.isfinite(head.curve).all()
    assert len(set(head.curve)) == 4
    without = rows.take(rows.labels != 2)
    assert CLASSIFIERS[classifier](without, 0, head.params).weights.shape == (6, 4)


@pytest.mark.parametrize("classifier", CLASSIFIERS)
@pytest.mark.parametrize(("sizes", "is_chosen"), [([100, 100, 90, 3, 3, 3], True), ([120, 120], False), ([90, 90, 120], False)])
def test_few_groups_are_divided_if_they_can_be(
    classifier: str, sizes: list[int], is_chosen: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    """Folds made without a look at the classes have all of the second class in one, in the first case; in the last, it is one group."""
    groups = np.repeat([str(number) for number in range(len(sizes))], sizes)
    labels = (groups >= str(len(sizes) // 2 + (len(sizes) == 3))).astype(np.int64)
    rows = Rows(draw(2, num_rows=len(groups)).features + labels[:, np.newaxis], labels, groups, np.ones(len(groups)))
    head = CLASSIFIERS[classifier](rows, 0)
    assert bool(head.curve) == is_chosen
    assert np.isfinite(head.curve).all()
    assert ("too few groups to choose the head's penalty" in capsys.readouterr().out) != is_chosen
    assert ((rows.features @ head.weights + head.bias).argmax(axis=1) == labels).mean() > 0.6


def test_a_sample_has_every_class_and_leaves_something_to_cross_validate_by(monkeypatch: pytest.MonkeyPatch) -> None:
    labels = np.repeat([0, 1, 2], [900, 95, 5])
    chosen = sample_rows(labels, 100, seed=0)
    assert (np.bincount(labels[chosen]) == [90, 9, 3]).all()
    assert (np.diff(chosen) > 0).all()
    assert (chosen != sample_rows(labels, 100, seed=1)).any()
    assert (sample_rows(labels, 1000, seed=0) == np.arange(1000)).all()
    # A few large groups, of which one would fill the sample.
    rows = replace(draw(2), groups=(np.arange(240) // 60).astype(str))
    monkeypatch.setattr(heads, "_MOST_ROWS_FOR_CHOICE", 100)
    full = fit_logistic(rows, seed=0)
    assert np.isfinite(full.curve).all()
    assert abs((rows.features @ full.weights + full.bias).argmax(axis=1) - rows.labels).mean() < 0.5
