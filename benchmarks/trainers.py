"""Trainings from the files of an archive to an accuracy on held-out photos: ours, and those that people copy from Keras's guides.

Every function trains on the same images and says, in `outcome.json`, what that took and came to. Processor time counts all that stands
between files and trained weights, of every thread; importing libraries and judging the network on the held-out photos are not counted, on
either side.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.child import used
from benchmarks.workspace import DATASET, FILES, RAW, RECIPE, VIEWS, read_recipe, start_over
from components.common.candidate import Candidate
from components.common.cli import quiet_libraries
from components.common.dataset import Dataset
from components.common.recipe import Recipe

Work = Callable[[], object]

OUTCOME = "outcome.json"
_BATCH = 64
#: Of others' trainings; processor time ends them long before.
_MOST_EPOCHS = 1000


@dataclass(frozen=True)
class Outcome:
    """What a training came to.

    Attributes:
        cpu: Processor time of all threads, in seconds.
        accuracy: On the held-out photos, 0..1.
        epochs: Passes over the training images.
        decoding: Of `cpu`, what was spent before training, once and for all candidates: reading, checking and storing the photos.
    """

    cpu: float
    accuracy: float
    epochs: float
    decoding: float = 0.0

    def write(self, workspace: Path) -> None:
        """Leave it for the process that asked."""
        (workspace / OUTCOME).write_text(json.dumps(asdict(self)))

    @classmethod
    def read(cls, workspace: Path) -> Outcome:
        """What the last training left."""
        return cls(**json.loads((workspace / OUTCOME).read_text()))


def ours(workspace: str) -> Work:
    """The first candidate of the workspace's recipe: all of fuse, then what the train step does until the weights are final."""
    _import_keras()
    import mlflow  # noqa: F401

    from components.fuse import run as fuse
    from components.train.train import fit_candidate

    folder, recipe = Path(workspace), read_recipe(Path(workspace))
    (candidate,) = recipe.candidates
    start_over(folder, DATASET)
    views = start_over(folder, VIEWS)
    views.mkdir()

    def work() -> None:
        started = used()
        fuse.run(recipe=f"{workspace}/{RECIPE}", raw=[folder / RAW], out=folder / DATASET)
        decoding = used() - started
        dataset = Dataset(folder / DATASET)
        fitted = fit_candidate(dataset, views, recipe, candidate, None)
        cpu = used() - started
        correct = [
            np.argmax(fitted.network.predict_on_batch(batch.astype(np.float32)), axis=1) for batch in dataset.images("test").batches(_BATCH)
        ]
        accuracy = float((np.concatenate(correct) == dataset.labels("test")).mean())
        epochs = fitted.params.get("epochs_trained", 1)
        Outcome(cpu, accuracy, epochs, decoding).write(folder)

    return work


def keras_frozen(workspace: str, target: str, budget: str) -> Work:
    """The same network and weights as TensorFlow's tutorial "Transfer learning and fine-tuning" has people train a new head.

    Frozen, a dense layer, Adam, files read anew in each epoch, in batches of 32. Its variation of the images, and its rate, a tenth of
    Adam's default, are left out: both would take it longer.
    """
    keras, recipe = _import_keras(), read_recipe(Path(workspace))

    def build() -> Any:
        image, pooled = _pretrained(recipe)
        return _binary_classifier(image, keras.layers.Dropout(0.2)(pooled))

    def work() -> None:
        started = used()
        train, test = _open_files(Path(workspace), recipe.image_size, 32)
        _fit_until(build, train, test, 1, float(target), float(budget), used() - started).write(Path(workspace))

    return work


def keras_features(workspace: str, target: str, budget: str) -> Work:
    """The lighter workflow of Keras's guide "Transfer learning & fine-tuning": the network runs once, its outputs train a new head."""
    keras, recipe = _import_keras(), read_recipe(Path(workspace))
    from tensorflow.data import Dataset as Pairs

    def build() -> Any:
        image, pooled = _pretrained(recipe)
        return keras.Model(image, pooled)

    def work() -> None:
        started = used()
        network = build()
        train, test = _open_files(Path(workspace), recipe.image_size, 32)

        def compute(files: Any) -> Any:
            features, labels = zip(*((network.predict_on_batch(images), labels) for images, labels in files), strict=True)
            return Pairs.from_tensor_slices((np.concatenate(features), np.concatenate(labels)))

        learned = compute(train)
        spent, held_out = used() - started, compute(test).batch(32)

        def build_head() -> Any:
            pooled = keras.Input(learned.element_spec[0].shape)
            return _binary_classifier(pooled, keras.layers.Dropout(0.2)(pooled))

        batches = learned.shuffle(len(learned)).batch(32)
        _fit_until(build_head, batches, held_out, 1, float(target), float(budget), spent).write(Path(workspace))

    return work


def _pretrained(recipe: Recipe) -> tuple[Any, Any]:
    """Input and pooled features of the network of the recipe's only candidate, which do not learn."""
    keras = _import_keras()
    from components.train.models import build_features

    (candidate,) = recipe.candidates
    image = keras.Input((recipe.image_size, recipe.image_size, 3))
    features = build_features(candidate, image)
    keras.Model(image, features).trainable = False
    return image, keras.layers.GlobalAveragePooling2D()(features)


def _binary_classifier(inputs: Any, outputs: Any) -> Any:
    keras = _import_keras()
    network = keras.Model(inputs, keras.layers.Dense(1, activation="sigmoid")(outputs))
    network.compile("adam", loss="binary_crossentropy", metrics=["accuracy"])
    return network


def keras_xception(workspace: str, target: str, budget: str) -> Work:
    """Keras's example "Image classification from scratch": a small Xception, flips and turns, Adam at 3e-4, batches of 128."""
    keras, recipe = _import_keras(), read_recipe(Path(workspace))
    layers, side = keras.layers, recipe.image_size

    def build() -> Any:
        def normalised(tensor: Any) -> Any:
            return layers.BatchNormalization()(tensor)

        image = keras.Input((side, side, 3))
        tensor = layers.RandomRotation(0.1)(layers.RandomFlip("horizontal")(image))
        tensor = layers.Conv2D(128, 3, strides=2, padding="same")(layers.Rescaling(1 / 255)(tensor))
        tensor = block = layers.Activation("relu")(normalised(tensor))
        for size in (256, 512, 728):
            for _ in range(2):
                tensor = normalised(layers.SeparableConv2D(size, 3, padding="same")(layers.Activation("relu")(tensor)))
            tensor = layers.MaxPooling2D(3, strides=2, padding="same")(tensor)
            tensor = block = layers.add([tensor, layers.Conv2D(size, 1, strides=2, padding="same")(block)])
        tensor = layers.Activation("relu")(normalised(layers.SeparableConv2D(1024, 3, padding="same")(tensor)))
        pooled = layers.Dropout(0.25)(layers.GlobalAveragePooling2D()(tensor))
        network = keras.Model(image, layers.Dense(1, activation="sigmoid")(pooled))
        network.compile(keras.optimizers.Adam(3e-4), loss="binary_crossentropy", metrics=["accuracy"])
        return network

    def work() -> None:
        started = used()
        train, test = _open_files(Path(workspace), side, 128)
        # Judged four times in an epoch, so that the first moment at which it is good enough is not missed by much.
        _fit_until(build, train, test, 4, float(target), float(budget), used() - started).write(Path(workspace))

    return work


def our_batches(workspace: str) -> Work:
    """One epoch of batches of 128, flipped and shifted, from what fuse has stored."""
    quiet_libraries()
    from components.train.batches import TrainingBatches

    dataset, recipe = Dataset(Path(workspace, DATASET)), _shifting(read_recipe(Path(workspace)))
    candidate = Candidate(name="batches", architecture="simple_cnn", mode="scratch", batch_size=128)
    batches = TrainingBatches(dataset, recipe, candidate)

    def work() -> None:
        for number in range(len(batches)):
            batches[number]

    return work


def keras_batches(workspace: str) -> Work:
    """The same with Keras: files, and its layers for flips and shifts, as its guides put them into the input pipeline."""
    keras = _import_keras()
    layers = [keras.layers.RandomFlip("horizontal"), keras.layers.RandomTranslation(0.1, 0.1)]
    files, _ = _open_files(Path(workspace), read_recipe(Path(workspace)).image_size, 128)

    def vary(images: Any, labels: Any) -> tuple[Any, Any]:
        for layer in layers:
            images = layer(images, training=True)
        return images, labels

    varied = files.map(vary, num_parallel_calls=os.cpu_count())

    def work() -> None:
        for _ in varied:
            pass

    return work


def _shifting(recipe: Recipe) -> Recipe:
    return recipe.model_copy(update={"augment": recipe.augment.model_copy(update={"flip": True, "shift": 0.1, "crop": 0.0})})


def _import_keras() -> Any:
    quiet_libraries()
    import keras

    keras.utils.set_random_seed(0)
    return keras


def _open_files(workspace: Path, side: int, batch_size: int) -> tuple[Any, Any]:
    """The exported files as Keras's guides open them: for training, shuffled, and held out."""
    keras = _import_keras()
    size = (side, side)
    opened = [
        keras.utils.image_dataset_from_directory(
            workspace / FILES / split, label_mode="binary", image_size=size, batch_size=batch_size, seed=0, verbose=False
        )
        for split in ("train", "test")
    ]
    return opened[0].prefetch(2), opened[1].prefetch(2)


def _fit_until(build: Callable[[], Any], train: Any, test: Any, parts: int, target: float, budget: float, spent: float) -> Outcome:
    """Train until the held-out accuracy reaches `target` or the processor time `budget`, judging `parts` times in an epoch.

    Args:
        build: Makes the network, compiled.
        train: Batches to learn from.
        test: Batches held out.
        parts: Judgements in an epoch.
        target: Accuracy, 0..1.
        budget: Processor time, in seconds.
        spent: Processor time already used, in seconds; counts towards the budget.
    """
    keras = _import_keras()
    started = used()
    network = build()
    every, cpu, num_batches, accuracy = max(len(train) // parts, 1), spent, 0, 0.0

    def judge(batch: int, logs: object) -> None:
        nonlocal cpu, started, num_batches, accuracy
        num_batches += 1
        if num_batches % every == 0:
            cpu += used() - started
            accuracy = float(network.evaluate(test, verbose=0, return_dict=True)["accuracy"])
            network.stop_training = accuracy >= target or cpu >= budget
            started = used()

    network.fit(train, epochs=_MOST_EPOCHS, verbose=0, callbacks=[keras.callbacks.LambdaCallback(on_train_batch_end=judge)])
    return Outcome(cpu, accuracy, num_batches / len(train))
