"""From Keras to the ONNX file that serves, and the check that both say the same.

The file has one input, `image`: float32 raw 0-255 RGB (n, size, size, 3); and the outputs `probabilities` (n, num_classes) and
`class_activation` (n, height, width, num_classes).
"""

from __future__ import annotations

import gc
import logging
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras
import numpy as np
import onnx
from onnxruntime import GraphOptimizationLevel, InferenceSession, SessionOptions

from components.common.errors import PawflowError
from components.train.network import OUTPUTS, Floats, with_class_activation
from serving.cores import num_cores
from serving.images import Pixels

#: Largest difference in probability between Keras and ONNX that rounding explains.
TOLERANCE = 1e-4
_BATCH = 16


def export_onnx(model: keras.Model, path: Path, output_names: Sequence[str]) -> None:
    """Write a Keras model with one image input as ONNX, its outputs named as given.

    It is always TensorFlow that exports, so that every candidate becomes the same kind of file; a model on another backend is saved and
    handed to a process of its own.
    """
    if keras.backend.backend() != "tensorflow":
        _export_elsewhere(model, path, output_names)
        return
    # Imported here: a process in which PyTorch trains has no use for TensorFlow.
    import tensorflow as tf
    import tf2onnx

    logging.getLogger("tf2onnx").setLevel(logging.ERROR)
    # Otherwise each of its optimisers works on a copy of all weights, and hides its own failure: a third of the time of a large network.
    os.environ.setdefault("TF2ONNX_CATCH_ERRORS", "FALSE")
    # Not `model.export`, which does the same for half as much time again: it looks for resources in every layer first.
    signature = [tf.TensorSpec((None, *model.input_shape[1:]), tf.float32, name="image")]

    @tf.function(input_signature=signature)  # type: ignore[untyped-decorator]
    def answer(image: Any) -> dict[str, Any]:
        return dict(zip(output_names, keras.tree.flatten(model(image, training=False)), strict=True))

    # The traced graphs refer to each other in circles; hundreds of megabytes would stay until Python happened to look. What was there
    # before, half a million objects, need not be looked through.
    gc.freeze()
    try:
        with _weights_written_once():
            exported, _ = tf2onnx.convert.from_function(answer, signature)
        gc.collect()
    finally:
        gc.unfreeze()
    if [value.name for value in exported.graph.input] != ["image"]:
        raise RuntimeError(f"the exported graph has the inputs {[value.name for value in exported.graph.input]}, expected one, `image`")
    # TensorFlow has sorted them by name.
    exported.graph.output.sort(key=lambda value: output_names.index(value.name))
    onnx.checker.check_model(exported)
    onnx.save(exported, path)


@contextmanager
def _weights_written_once() -> Iterator[None]:
    """Have tf2onnx write its graph into protobuf messages at the end, and not also after each pass of each optimiser.

    A message keeps what it has replaced until it goes as a whole, so every pass adds a copy of all weights: with forty of them
    InceptionResNetV2 took 12 GB instead of 5, and nearly twice as long.
    """
    from tf2onnx.graph import Graph

    write = Graph.update_proto

    def write_at_the_end(graph: Any, *storage: Any) -> None:
        # Only the last call, which makes the model, says where large weights would go.
        if storage:
            write(graph, *storage)

    Graph.update_proto = write_at_the_end
    try:
        yield
    finally:
        Graph.update_proto = write


def _export_elsewhere(model: keras.Model, path: Path, output_names: Sequence[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        saved = Path(folder) / "model.keras"
        model.save(saved)
        command = [sys.executable, "-m", __name__, str(saved), str(path), *output_names]
        done = subprocess.run(command, env={**os.environ, "KERAS_BACKEND": "tensorflow"}, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"TensorFlow could not export the network that PyTorch trained:\n{done.stderr[-4000:]}")


def open_session(
    path: Path, num_threads: int | None = None, optimization: GraphOptimizationLevel = GraphOptimizationLevel.ORT_ENABLE_ALL
) -> InferenceSession:
    """Load an ONNX file; each call then runs on `num_threads` threads, by default one for each core."""
    options = SessionOptions()
    options.graph_optimization_level = optimization
    options.intra_op_num_threads = num_threads or num_cores()
    options.log_severity_level = 3
    return InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def export_and_compare(network: keras.Model, path: Path, images: Pixels) -> float:
    """Export a network with both outputs and compare it with Keras on real images.

    Args:
        network: Trained classifier.
        path: ONNX file to write.
        images: uint8 RGB, shape (n, size, size, 3).

    Returns:
        The largest difference between any two probabilities.

    Raises:
        PawflowError: They differ by more than `TOLERANCE`; the ONNX file is removed.
    """
    export_onnx(with_class_activation(network), path, OUTPUTS)
    session, differences = open_session(path), []
    # Few at a time: the activations of all of them would be the most that training ever holds.
    for start in range(0, len(images), _BATCH):
        inputs = images[start : start + _BATCH].astype(np.float32)
        expected: Floats = np.asarray(network.predict_on_batch(inputs))
        differences.append(np.abs(expected - session.run(["probabilities"], {"image": inputs})[0]).max())
    difference = float(np.max(differences))
    if np.isnan(difference):
        path.unlink()
        raise PawflowError("its probabilities are no numbers: training has diverged; lower its learning rate")
    if difference > TOLERANCE:
        path.unlink()
        raise PawflowError(
            f"the ONNX export differs from Keras by {difference:.2g} in probability on {len(images)} images, more than {TOLERANCE:g}; "
            "the network contains something that the exporter gets wrong, so this candidate cannot be served"
        )
    return difference


if __name__ == "__main__":
    export_onnx(keras.saving.load_model(sys.argv[1], safe_mode=True), Path(sys.argv[2]), sys.argv[3:])
