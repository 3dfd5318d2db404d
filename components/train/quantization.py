"""From a float32 ONNX file to one whose convolutions compute in 8 bits.

In: an ONNX file with the input `image`, and images to measure the ranges of its activations on. Out: an ONNX file with the same inputs
and outputs. Convolutions and what lies between them are quantised, weights per channel; the head stays float32. Worth it for networks
with ReLU-like activations, which run two to four times faster so; networks with swish gain nothing.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
from onnxruntime import GraphOptimizationLevel
from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.calibrate import TensorsData, save_tensors_data
from onnxruntime.quantization.shape_inference import quant_pre_process

from components.common.dataset import Dataset
from components.common.parallel import map_on_all_cores
from components.common.shards import Images
from components.train.export import open_session
from components.train.network import Floats
from serving.images import Pixels

#: A hundred more change neither errors nor log-loss of a head on the features, and cost as much as the network on a thousand photos.
_NUM_CALIBRATION_IMAGES = 32
#: Everything but the head, whose few multiplications decide the probabilities.
_OPERATIONS = ["Conv", "Add", "Mul", "Clip", "Relu", "MaxPool", "AveragePool", "Concat"]


def sample_for_calibration(dataset: Dataset) -> Pixels:
    """Training images spread evenly over the split: uint8 (n, size, size, 3), n at most 32."""
    images = dataset.images("train")
    return images.take(np.unique(np.linspace(0, len(images) - 1, _NUM_CALIBRATION_IMAGES).astype(np.int64)))


def quantize(source: Path, destination: Path, images: Pixels) -> None:
    """Write `source` with 8-bit convolutions as `destination`, which may be the same file.

    Args:
        source: ONNX file with the input `image`.
        destination: File to write.
        images: uint8 RGB, shape (n, size, size, 3); the largest activations on them set the scales.
    """
    with tempfile.TemporaryDirectory() as folder:
        # Folds batch normalisation into the convolutions, so that there is one scale and not two.
        folded, ranges = Path(folder) / "folded.onnx", Path(folder) / "ranges.json"
        quant_pre_process(str(source), str(folded), skip_symbolic_shape=True)
        save_tensors_data(_measure_ranges(folded, images), ranges)
        quantize_static(
            str(folded),
            str(destination),
            calibration_cache_path=ranges,
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=_OPERATIONS,
            per_channel=True,
            weight_type=QuantType.QInt8,
            # Unsigned: the kernels of plain x86-64 processors are several times slower for signed activations.
            activation_type=QuantType.QUInt8,
        )


def _measure_ranges(file: Path, images: Pixels) -> TensorsData:
    """The smallest and the largest number in each tensor that an operation of `_OPERATIONS` reads or writes, on all images.

    ONNX Runtime's own calibration finds the same for twice the processor time: it sets all cores on one image, where they wait for each
    other, and measures what is clipped before it is as well, although only the range after that is used.
    """
    model = onnx.load(file)
    graph = model.graph
    num_readers = Counter(name for node in graph.node for name in node.input)
    chosen = [node for node in graph.node if node.op_type in _OPERATIONS]
    clipped = {node.input[0]: node.output[0] for node in chosen if node.op_type in ("Clip", "Relu") and num_readers[node.input[0]] == 1}
    others = {"", *clipped, *(tensor.name for tensor in graph.initializer)}
    names = list(dict.fromkeys(name for node in chosen for name in (*node.input, *node.output) if name not in others))
    del graph.output[:]
    for name in names:
        for operation in ("ReduceMin", "ReduceMax"):
            graph.node.append(onnx.helper.make_node(operation, [name], [f"{name} {operation}"], keepdims=0))
            graph.output.append(onnx.helper.make_empty_tensor_value_info(f"{name} {operation}"))
    measured = file.with_name("measured.onnx")
    onnx.save(model, measured)
    # Not the fastest layout of the tensors, whose sums differ in the last bit: a scale should not depend on it.
    session = open_session(measured, num_threads=1, optimization=GraphOptimizationLevel.ORT_ENABLE_EXTENDED)

    def measure(image: Pixels) -> Floats:
        return np.array(session.run(None, {"image": image[np.newaxis].astype(np.float32)}), np.float32).reshape(-1, 2)

    found = np.stack(list(map_on_all_cores(measure, images)))
    ranges = dict(zip(names, zip(found[..., 0].min(axis=0), found[..., 1].max(axis=0), strict=True), strict=True))
    # From the last to the first, for what is clipped may be clipped again.
    for before, after in reversed(clipped.items()):
        ranges[before] = ranges[after]
    return TensorsData(CalibrationMethod.MinMax, ranges)


def compare_labels(reference: Path, quantized: Path, images: Images) -> dict[str, float]:
    """How often two networks give the same label, as metrics.

    Args:
        reference: ONNX file with the output `probabilities`.
        quantized: Another.
        images: Real ones, not trained on.
    """
    sessions = open_session(reference), open_session(quantized)
    labels = np.array(
        [
            [session.run(["probabilities"], {"image": batch.astype(np.float32)})[0].argmax(axis=1) for session in sessions]
            for batch in images.batches(1)
        ]
    )
    same = labels[:, 0] == labels[:, 1]
    return {"int8.same_label": float(same.mean()), "int8.num_images": float(len(images)), "int8.bytes": float(quantized.stat().st_size)}
