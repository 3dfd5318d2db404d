from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from serving.activation import draw_evidence, find_peak, weigh_evidence
from serving.predictor import Predictor
from tests.conftest import write_mean_model


def test_only_differences_between_classes_are_evidence() -> None:
    activation = np.random.default_rng(0).normal(size=(5, 4, 3, 6))
    np.testing.assert_allclose(weigh_evidence(activation + 7.0), weigh_evidence(activation), atol=1e-12)
    np.testing.assert_allclose(weigh_evidence(activation).sum(axis=-1), 0, atol=1e-12)


def test_the_peak_is_high_where_one_spot_is_and_not_where_hints_are_many() -> None:
    spot, hints = np.zeros((6, 6, 2)), np.tile([-1.0, 1.0], (6, 6, 1))
    spot[2, 3] = [-18, 18]
    spot[4, 4] = [-18, 18]
    assert spot.mean(axis=(0, 1)) == pytest.approx(hints.mean(axis=(0, 1))), "the softmax cannot tell the two apart"
    assert find_peak(np.stack([spot, hints])) == pytest.approx([18, 1])


def test_a_map_lies_on_the_square() -> None:
    activation = np.zeros((4, 4, 3))
    activation[0, 3, 2] = 3.0
    drawn = draw_evidence(activation, 2, 64)
    assert drawn.shape == (64, 64)
    row, column = np.unravel_index(drawn.argmax(), drawn.shape)
    assert row < 16
    assert column >= 48
    assert draw_evidence(activation, 0, 64).min() == pytest.approx(-1.0)


def test_any_photo_is_explained_for_any_class(tmp_path: Path) -> None:
    predictor = Predictor(write_mean_model(tmp_path, 32, 2.0))
    pixels = np.zeros((32, 32, 3), np.uint8)
    pixels[:, 16:] = 255
    dog, cat = predictor.explain(pixels, "dog"), predictor.explain(pixels, "cat")
    assert dog[:, 20:] == pytest.approx(2.0)
    assert dog[:, :12] == pytest.approx(-2.0)
    np.testing.assert_allclose(cat, -dog)
    with pytest.raises(ValueError, match="bird"):
        predictor.explain(pixels, "bird")
