"""How much each training image counts."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from components.common.recipe import Weights

#: Within what images are made to count alike, from the outside in.
LEVELS: dict[Weights, tuple[str, ...]] = {
    "none": (),
    "class": ("label",),
    "source": ("label", "source"),
}


def weigh(rows: pd.DataFrame, weights: Weights) -> NDArray[np.float64]:
    """Weights with mean 1, shape (n,).

    Args:
        rows: Manifest rows of the training split.
        weights: "class" makes every class weigh the same in all; "source" also every source within its class.
    """
    share = np.ones(len(rows))
    levels = LEVELS[weights]
    for depth in range(len(levels)):
        within = rows.groupby(list(levels[:depth]))[levels[depth]].transform("nunique") if depth else rows[levels[0]].nunique()
        share /= np.asarray(within, np.float64)
    if levels:
        share /= rows.groupby(list(levels))["id"].transform("size").to_numpy(np.float64)
    return np.asarray(share / share.mean())
