"""Trainings that are killed and continue, in processes of their own, end as the uninterrupted one does."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from components.common.candidate import Candidate
from components.common.dataset import Dataset
from components.common.store import home

#: As much state as there can be: dropout, momenta, a schedule, averaged weights, two phases. 12 batches an epoch.
TUNED = Candidate(
    name="tuned",
    architecture="simple_cnn",
    mode="fine_tune",
    options={"conv_layers": 2, "layer_size": 4},
    unfreeze="block2",
    head_epochs=2,
    epochs=3,
    batch_size=8,
    optimizer="adamw",
    weight_decay=0.01,
    schedule="one_cycle",
    label_smoothing=0.1,
    ema=0.9,
    patience=10,
)


def run(
    dataset: Dataset, out: Path, candidate: Candidate, number: int = signal.SIGKILL, last: int = 0, **environment: str
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.components.train.dying", str(dataset.folder), str(out), candidate.model_dump_json()]
    paths = os.pathsep.join([str(Path(__file__).parents[3]), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [*command, str(int(number)), str(last)], env={**os.environ, "PYTHONPATH": paths, **environment}, capture_output=True, text=True
    )


def history(out: Path) -> dict[str, list[float]]:
    found: dict[str, list[float]] = json.loads((out / "history.json").read_text())
    return found


def assert_same_result(found: Path, expected: Path) -> None:
    for name, values in history(expected).items():
        # The mean over an epoch that was trained in two parts is rounded differently; nothing else may be.
        np.testing.assert_allclose(history(found)[name], values, rtol=0 if name.startswith("val_") else 1e-6)
    networks = [keras.saving.load_model(folder / "model.keras") for folder in (found, expected)]
    for one, other in zip(networks[0].get_weights(), networks[1].get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_training_killed_in_either_phase_ends_as_if_it_had_not_been(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert run(dataset, whole, TUNED, PAWFLOW_HOME=str(tmp_path / "other")).returncode == 0

    assert run(dataset, killed, TUNED, signal.SIGKILL, 17).returncode == -signal.SIGKILL
    stopped = run(dataset, killed, TUNED, signal.SIGTERM, 12 + 12 + 5)
    assert "continuing at head epoch 2, batch 1" in stopped.stdout
    assert "stopped by a signal in body epoch 2/3 after batch 5; the same command continues there" in stopped.stdout
    assert stopped.returncode == 2
    third = run(dataset, killed, TUNED, signal.SIGKILL, 7 + 4)
    assert "continuing at body epoch 2, batch 6" in third.stdout
    assert third.returncode == -signal.SIGKILL
    # What was written at the end of that epoch is lost, too: the checkpoint before, of its middle, takes its place.
    newest = max((home() / "checkpoints" / "key").glob("*.npz"))
    newest.write_bytes(newest.read_bytes()[:-100])
    last = run(dataset, killed, TUNED)
    assert "is damaged and discarded" in last.stdout
    assert "continuing at body epoch 2, batch 6" in last.stdout
    assert "'resumed': 2" in last.stdout
    assert last.returncode == 0, last.stderr
    assert_same_result(killed, whole)


def test_two_devices_share_each_batch_and_the_result_needs_one(dataset: Dataset, tmp_path: Path) -> None:
    candidate = TUNED.model_copy(update={"ema": 0.0, "dropout": 0.0, "head_epochs": 1, "epochs": 1})
    one, two = tmp_path / "one", tmp_path / "two"
    run(dataset, one, candidate, PAWFLOW_HOME=str(tmp_path / "a"))
    done = run(dataset, two, candidate, PAWFLOW_HOME=str(tmp_path / "b"), TWO_DEVICES="yes")
    assert done.returncode == 0, done.stderr
    # The mean of the halves' gradients is the gradient of the batch; batch normalisation does not learn in either phase.
    for name, values in history(one).items():
        np.testing.assert_allclose(history(two)[name], values, rtol=1e-4)


@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="PyTorch is an extra")
def test_pytorch_trains_and_continues_as_well(dataset: Dataset, tmp_path: Path) -> None:
    candidate = TUNED.model_copy(update={"backend": "torch"})
    assert run(dataset, tmp_path / "whole", candidate, PAWFLOW_HOME=str(tmp_path / "other")).returncode == 0
    assert run(dataset, tmp_path / "killed", candidate, signal.SIGKILL, 29).returncode == -signal.SIGKILL
    last = run(dataset, tmp_path / "killed", candidate)
    assert last.returncode == 0, last.stderr
    assert_same_result(tmp_path / "killed", tmp_path / "whole")
