"""A process that trains a candidate and may die on the way: `python -m tests.components.train.dying DATASET OUT CANDIDATE SIGNAL BATCHES`.

It sends itself the signal when batch number BATCHES, counted from its start, has been trained on; 0 for never. With `TWO_DEVICES` set,
TensorFlow sees two processors.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from components.common.candidate import Candidate
from components.common.cli import attempt, quiet_libraries
from components.common.dataset import Dataset
from components.common.recipe import parse_recipe
from components.common.store import Record
from components.train.checkpoints import Checkpoints
from components.train.devices import choose_backend
from tests.conftest import RECIPE


def main(dataset: Dataset, out: Path, candidate: Candidate, number: int, last: int) -> Record:
    """Train."""
    choose_backend(candidate)
    if "TWO_DEVICES" in os.environ:
        import tensorflow as tf

        (processor,) = tf.config.list_physical_devices("CPU")
        tf.config.set_logical_device_configuration(processor, [tf.config.LogicalDeviceConfiguration()] * 2)
    from components.train import epochs
    from components.train.train import train

    class DyingWatch(epochs._Watch):
        num_batches = 0

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            DyingWatch.num_batches += 1
            if DyingWatch.num_batches == last:
                os.kill(os.getpid(), number)
            super().on_train_batch_end(batch, logs)

    epochs._Watch = DyingWatch  # type: ignore[misc]
    out.mkdir(parents=True, exist_ok=True)
    return train(dataset, dataset.folder, parse_recipe(RECIPE), candidate, out, Checkpoints("key"))


if __name__ == "__main__":
    quiet_libraries()
    candidate = Candidate.model_validate_json(sys.argv[3])
    record = attempt(lambda: main(Dataset(Path(sys.argv[1])), Path(sys.argv[2]), candidate, int(sys.argv[4]), int(sys.argv[5])))
    print("params", record.params)
