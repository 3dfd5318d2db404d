from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from components.common.dataset import Dataset
from components.common.recipe import Weights
from components.common.weighting import weigh


def totals(rows: pd.DataFrame, weights: Weights, *columns: str) -> list[float]:
    return [float(value) for value in rows.assign(weight=weigh(rows, weights)).groupby(list(columns))["weight"].sum()]


def test_weights_even_out_what_they_say(dataset: Dataset) -> None:
    rows = dataset.rows("train")
    assert (weigh(rows, "none") == 1).all()
    n = len(rows)
    assert totals(rows, "class", "label") == pytest.approx([n / 2, n / 2])
    assert totals(rows, "source", "label") == pytest.approx([n / 2, n / 2])
    # Cats are of one source, dogs of two: cat, dog of one, dog of the other.
    assert totals(rows, "source", "label", "source") == pytest.approx([n / 2, n / 4, n / 4])
    assert weigh(rows, "source").mean() == pytest.approx(1.0)
    assert np.unique(weigh(rows, "class")).size == 2
