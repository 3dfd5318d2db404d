"""From a float32 ONNX file to one whose convolutions compute in 8 bits.

In: an ONNX file with the input `image`, and images to measure the ranges of its activations on. Out: an ONNX file with the same inputs
and outputs. Convolutions and what lies between them are quantised, weights per channel; the head stays float32. Worth it for networks
with ReLU-like activations, which run two to four times faster so; networks with swish gain nothing.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from components.common.dataset import Dataset
from components.common.shards import Images
from components.train.export import open_session
from components.train.network import Floats
from serving.images import Pixels

_NUM_CALIBRATION_IMAGES = 128
#: Everything but the head, whose few multiplications decide the probabilities.
_OPERATIONS = ["Conv", "Add", "Mul", "Clip", "Relu", "MaxPool", "AveragePool", "Concat"]


class _Calibration(CalibrationDataReader):  # type: ignore[misc]
    def __init__(self, images: Pixels) -> None:
        self._images = iter(images)

    def get_next(self) -> dict[str, Floats] | None:
        image = next(self._images, None)
        return None if image is None else {"image": image[np.newaxis].astype(np.float32)}


def sample_for_calibration(dataset: Dataset) -> Pixels:
    """Training images spread evenly over the split: uint8 (n, size, size, 3), n at most 128."""
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
        folded = Path(folder) / "folded.onnx"
        quant_pre_process(str(source), str(folded), skip_symbolic_shape=True)
        quantize_static(
            str(folded),
            str(destination),
            _Calibration(images),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=_OPERATIONS,
            per_channel=True,
            weight_type=QuantType.QInt8,
            # Unsigned: the kernels of plain x86-64 processors are several times slower for signed activations.
            activation_type=QuantType.QUInt8,
        )


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
