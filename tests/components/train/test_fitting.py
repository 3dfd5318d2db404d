"""What the fields of a candidate do to its training, on networks of a few filters."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from components.common.candidate import Candidate, Target
from components.common.dataset import Dataset
from components.common.errors import PawflowError
from components.common.recipe import Recipe
from components.train import epochs
from components.train.batches import TrainingBatches, ValidationBatches
from components.train.checkpoints import Checkpoints
from components.train.epochs import run_phase
from components.train.export import export_and_compare
from components.train.fitting import PHASES, fit
from components.train.models import initialize
from components.train.network import build_network
from components.train.session import Session, copy

SCRATCH = Candidate(
    name="c", architecture="simple_cnn", mode="scratch", options={"conv_layers": 2, "layer_size": 4}, epochs=2, batch_size=32
)
TUNED = SCRATCH.model_copy(update={"mode": "fine_tune", "unfreeze": "block2", "head_epochs": 1, "epochs": 1})


def trained_layers(candidate: Candidate, phase: int) -> set[str]:
    network = build_network(candidate, 32, 2)
    is_trained = PHASES[candidate.mode](network, candidate)[phase].is_trained
    return {layer.name for layer in network.layers if layer.weights and is_trained(layer)}


@pytest.mark.parametrize(
    ("unfreeze", "expected"), [("block2", {"block2_conv"}), ("block1", {"block1_conv", "block2_conv"}), (4, {"block2_conv"})]
)
def test_fine_tuning_thaws_the_last_layers_but_no_normalisation(unfreeze: str | int, expected: set[str]) -> None:
    candidate = TUNED.model_copy(update={"unfreeze": unfreeze})
    assert trained_layers(candidate, 0) == {"class_activation"}
    assert trained_layers(candidate, 1) == {"class_activation", *expected}


@pytest.mark.parametrize(
    ("unfreeze", "message"),
    [("stage9", "prefixes: .*block1"), (99, "expected 1 to"), (0, "expected 1 to"), (1, "of which nothing learns.*unfreeze more")],
)
def test_layers_that_are_not_there_are_an_error(unfreeze: str | int, message: str) -> None:
    with pytest.raises(PawflowError, match=message):
        trained_layers(TUNED.model_copy(update={"unfreeze": unfreeze}), 1)


def test_each_network_of_a_concatenation_thaws_its_own_last_block() -> None:
    options = {"of": ["efficientnet_lite0", "vgg16"], "weights": "random"}
    candidate = Candidate(name="c", architecture="concatenation", mode="fine_tune", options=options)
    both = trained_layers(candidate, 1)
    lite, vgg = ({name for name in both if name.endswith(f"_{part}")} for part in options["of"])
    assert {name.split("_")[0] for name in vgg} == {"block5"}
    assert {name.split("_")[0] for name in lite} == {"block7a", "top"}
    assert both - lite - vgg == {"class_activation"}
    assert trained_layers(candidate.model_copy(update={"unfreeze": "block7"}), 1) == lite | {"class_activation"}


def test_a_phase_that_only_makes_it_worse_changes_nothing(dataset: Dataset, recipe: Recipe) -> None:
    keras.utils.set_random_seed(0)
    fitted = fit(dataset, recipe, TUNED.model_copy(update={"unfreeze": "block1", "optimizer": "sgd", "fine_tune_rate": 20.0}), None)
    fitted.network.compile(loss="categorical_crossentropy", metrics=["accuracy"])
    kept = fitted.network.evaluate(ValidationBatches(dataset, TUNED), verbose=0, return_dict=True)
    head, *body = fitted.history["val_loss"]
    assert min(body) > 2 * head
    assert kept["loss"] == pytest.approx(head, rel=1e-4)


def test_frozen_normalisation_neither_learns_nor_looks_at_its_batch(dataset: Dataset, recipe: Recipe) -> None:
    candidate = TUNED.model_copy(update={"unfreeze": "block1", "dropout": 0.0})
    seen: list[Any] = []

    def remember(network: keras.Model, *arguments: Any, **options: Any) -> None:
        images = dataset.images("train")[:4].astype(np.float32)
        seen.append([np.asarray(network(images, training=training)) for training in (True, False)])
        run_phase(network, *arguments, **options)

    keras.utils.set_random_seed(0)
    before = {layer.name: layer.get_weights() for layer in build_network(candidate, 32, 2).layers}
    keras.utils.set_random_seed(0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("components.train.fitting.run_phase", remember)
        after = fit(dataset, recipe, candidate, None).network
    for in_training, in_inference in seen:
        np.testing.assert_allclose(in_training, in_inference, atol=1e-6)
    for layer in after.layers:
        same = all(np.array_equal(old, new) for old, new in zip(before[layer.name], layer.get_weights(), strict=True))
        assert same == (not layer.weights or layer.name.endswith("_bn")), layer.name


def test_a_whitening_stem_comes_from_the_training_images_and_does_not_learn(dataset: Dataset, recipe: Recipe) -> None:
    options = {"stem": "whitening", "widths": [24, 4], "residual": False}
    candidate = SCRATCH.model_copy(update={"architecture": "fast_resnet", "options": options, "optimizer": "muon", "epochs": 1})
    expected = build_network(candidate, 32, 2)
    initialize(expected, candidate, [dataset.images("train")[:]])
    before = {layer.name: layer.get_weights() for layer in expected.layers if layer.weights}
    after = {layer.name: layer.get_weights() for layer in fit(dataset, recipe, candidate, None).network.layers if layer.weights}
    assert before.keys() == after.keys()
    np.testing.assert_array_equal(after["stem_whitening"][0], before["stem_whitening"][0])
    assert all((after[name][0] != before[name][0]).any() for name in after if name != "stem_whitening")


def test_averaged_weights_are_what_is_validated_and_kept(dataset: Dataset, recipe: Recipe) -> None:
    candidate = SCRATCH.model_copy(update={"ema": 0.8, "learning_rate": 0.01, "epochs": 1})
    network = build_network(candidate, 32, 2)
    network.compile(keras.optimizers.Adam(0.01, use_ema=True, ema_momentum=0.8), "categorical_crossentropy", metrics=["accuracy"])
    network.optimizer.build(network.trainable_variables)
    session, validation = Session(None), ValidationBatches(dataset, candidate)
    raw: list[Any] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Session, "save", lambda self, network: raw.extend(copy(network.trainable_variables)))
        run_phase(network, TrainingBatches(dataset, recipe, candidate), validation, candidate, session, phase="scratch", num_epochs=1)
    kept = copy(network.trainable_variables)
    # Training would go on from other weights than those that are kept ...
    assert max(np.abs(one - other).max() for one, other in zip(raw, kept, strict=True)) > 1e-4
    # ... which are those that the reported loss is of.
    assert network.evaluate(validation, verbose=0)[0] == pytest.approx(session.progress.history["val_loss"][0], rel=1e-5)


def values_per_epoch(monkeypatch: pytest.MonkeyPatch, values: list[dict[str, float]]) -> list[float]:
    """Replace what an epoch does: it writes its number into the head and reports the next of `values`."""
    marks: list[float] = []

    def run_epoch(network: keras.Model, train: Any, validation: Any, candidate: Candidate, session: Session, *_: object) -> None:
        network.get_layer("class_activation").bias.assign([len(marks), 0])
        session.progress.num_images, session.progress.sums = 1, {"loss": 1.0, "accuracy": 0.5}
        reported = session.progress.finish_epoch(values[len(marks)])
        marks.append(float(len(marks)))
        if epochs._is_kept(session.progress, candidate, reported):
            session.best = copy(network.weights)

    monkeypatch.setattr(epochs, "_run_epoch", run_epoch)
    return marks


@pytest.mark.parametrize(
    ("changes", "num_epochs", "kept"),
    [
        ({"patience": 2}, 4, 1),
        ({"patience": 9}, 6, 5),
        ({"patience": 3, "monitor": "val_accuracy"}, 6, 4),
        ({"patience": 9, "stop_at": Target(metric="val_accuracy", value=0.7)}, 3, 2),
        ({"patience": 9, "stop_at": Target(metric="val_loss", value=0.5)}, 2, 1),
        ({"patience": 9, "stop_at": Target(metric="loss", value=0.9)}, 6, 5),
    ],
)
def test_training_ends_when_the_candidate_says_so_and_keeps_that_epoch(
    changes: dict[str, Any], num_epochs: int, kept: int, dataset: Dataset, recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses, accuracies = [0.9, 0.5, 0.6, 0.7, 0.8, 0.4], [0.6, 0.6, 0.7, 0.6, 0.8, 0.7]
    values = [{"val_loss": loss, "val_accuracy": accuracy} for loss, accuracy in zip(losses, accuracies, strict=True)]
    marks = values_per_epoch(monkeypatch, values)
    fitted = fit(dataset, recipe, SCRATCH.model_copy(update={"epochs": 6, **changes}), None)
    assert len(marks) == num_epochs
    assert fitted.network.get_layer("class_activation").bias.numpy()[0] == kept


def test_a_target_reached_by_the_head_ends_fine_tuning(dataset: Dataset, recipe: Recipe) -> None:
    candidate = TUNED.model_copy(update={"stop_at": Target(metric="val_accuracy", value=0.0)})
    assert len(fit(dataset, recipe, candidate, None).history["loss"]) == 1


def test_the_history_has_the_rate_of_each_phase(dataset: Dataset, recipe: Recipe) -> None:
    candidate = TUNED.model_copy(update={"schedule": "constant", "learning_rate": 0.01, "fine_tune_rate": 0.001})
    assert fit(dataset, recipe, candidate, None).history["learning_rate"] == pytest.approx([0.01, 0.001])


@pytest.mark.parametrize("changes", [{"precision": "mixed_bfloat16"}, {"precision": "mixed_float16"}, {"jit_compile": True}])
def test_however_it_was_computed_the_result_is_plain_float32(
    changes: dict[str, Any], dataset: Dataset, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled: list[keras.Model] = []

    def remember(network: keras.Model, *arguments: Any, **options: Any) -> None:
        compiled.append(network)
        run_phase(network, *arguments, **options)

    monkeypatch.setattr("components.train.fitting.run_phase", remember)
    candidate = SCRATCH.model_copy(update={"epochs": 1, "ema": 0.9, **changes})
    network = fit(dataset, recipe, candidate, None).network
    assert compiled[0].jit_compile == candidate.jit_compile
    assert compiled[0].get_layer("block1_conv").compute_dtype == candidate.precision.removeprefix("mixed_")
    assert compiled[0].output.dtype == "float32"
    assert {layer.compute_dtype for layer in network.layers} == {"float32"}
    assert keras.config.dtype_policy().name == "float32"
    assert export_and_compare(network, tmp_path / "model.onnx", dataset.images("validation")[:8]) <= 1e-4


def test_a_signal_during_validation_costs_no_training(dataset: Dataset, recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    candidate = SCRATCH.model_copy(update={"epochs": 1, "ema": 0.9})
    keras.utils.set_random_seed(0)
    whole = fit(dataset, recipe, candidate, None)
    get = ValidationBatches.__getitem__

    def get_and_signal(self: ValidationBatches, index: int) -> Any:
        signal.raise_signal(signal.SIGTERM)
        return get(self, index)

    keras.utils.set_random_seed(0)
    with monkeypatch.context() as patch:
        patch.setattr(ValidationBatches, "__getitem__", get_and_signal)
        with pytest.raises(PawflowError, match="stopped by a signal in scratch epoch 1/1 after batch 3"):
            fit(dataset, recipe, candidate, Checkpoints("key"))
    monkeypatch.setattr(TrainingBatches, "__getitem__", lambda self, index: pytest.fail("an epoch was trained again"))
    continued = fit(dataset, recipe, candidate, Checkpoints("key"))
    assert continued.history["val_loss"] == whole.history["val_loss"]
    for one, other in zip(continued.network.get_weights(), whole.network.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_second_phase_does_not_repeat_what_the_first_drew(dataset: Dataset, recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    begin, begun = TrainingBatches.begin, []

    def note_and_begin(batches: TrainingBatches, *, epoch: int, first: int) -> None:
        begun.append(epoch)
        begin(batches, epoch=epoch, first=first)

    monkeypatch.setattr(TrainingBatches, "begin", note_and_begin)
    fit(dataset, recipe, TUNED.model_copy(update={"head_epochs": 2, "epochs": 2}), None)
    assert begun[-4:] == [0, 1, 2, 3]
