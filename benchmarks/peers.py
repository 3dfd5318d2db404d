"""What others do with the same photos; each function runs in the environment that it needs, so libraries are imported inside.

Every function prepares itself and returns the work to be timed (`benchmarks.common.Task`).
"""

from __future__ import annotations

import os
from collections.abc import Callable

Work = Callable[[], object]


def keras_epoch(folder: str, image_size: str) -> Work:
    """One pass of Keras over a folder: every file is read, decoded and resized, in shuffled batches, on all cores."""
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    import keras

    side = int(image_size)
    batches = keras.utils.image_dataset_from_directory(folder, labels=None, image_size=(side, side), batch_size=32, seed=0, verbose=False)

    def work() -> None:
        for _ in batches:
            pass

    return work


def cleanvision_duplicates(folder: str) -> Work:
    """CleanVision's search for exact and near duplicates: it decodes and hashes every file, and matches equal hashes."""
    from cleanvision import Imagelab

    return lambda: Imagelab(data_path=folder, verbose=False).find_issues({"exact_duplicates": {}, "near_duplicates": {}}, verbose=False)
