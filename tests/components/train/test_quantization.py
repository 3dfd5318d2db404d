"""8-bit networks: the scales are those that ONNX Runtime itself would choose."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from components.common.candidate import Candidate
from components.train.export import export_onnx
from components.train.network import OUTPUTS, Floats, build_network, with_class_activation
from components.train.quantization import _OPERATIONS, quantize


class _Reader(CalibrationDataReader):  # type: ignore[misc]
    def __init__(self, images: Floats) -> None:
        self._images = iter(images)

    def get_next(self) -> dict[str, Floats] | None:
        image = next(self._images, None)
        return None if image is None else {"image": image[np.newaxis]}


@pytest.mark.parametrize(
    ("architecture", "flip_tta"), [("efficientnet_lite0", False), ("simple_cnn", False), ("fast_resnet", True), ("vgg16", False)]
)
def test_scales_are_those_that_the_calibration_of_onnx_runtime_finds(architecture: str, flip_tta: bool, tmp_path: Path) -> None:
    candidate = Candidate(name="c", architecture=architecture, mode="scratch", flip_tta=flip_tta)
    export_onnx(with_class_activation(build_network(candidate, 32, 2)), tmp_path / "exact.onnx", OUTPUTS)
    images = np.random.default_rng(0).integers(0, 256, (6, 32, 32, 3), dtype=np.uint8)
    quantize(tmp_path / "exact.onnx", tmp_path / "ours.onnx", images)

    quant_pre_process(str(tmp_path / "exact.onnx"), str(tmp_path / "folded.onnx"), skip_symbolic_shape=True)
    quantize_static(
        str(tmp_path / "folded.onnx"),
        str(tmp_path / "theirs.onnx"),
        _Reader(images.astype(np.float32)),
        quant_format=QuantFormat.QDQ,
        op_types_to_quantize=_OPERATIONS,
        per_channel=True,
        weight_type=QuantType.QInt8,
        activation_type=QuantType.QUInt8,
    )
    ours, theirs = (onnx.load(tmp_path / name).graph for name in ("ours.onnx", "theirs.onnx"))
    assert [(node.op_type, node.input, node.output) for node in ours.node] == [
        (node.op_type, node.input, node.output) for node in theirs.node
    ]
    for one, other in zip(ours.initializer, theirs.initializer, strict=True):
        # Biases are sums of products of scales, in 32 bits.
        rounding = 1 if other.data_type == onnx.TensorProto.INT32 else 0
        found, expected = onnx.numpy_helper.to_array(one), onnx.numpy_helper.to_array(other)
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=rounding, err_msg=other.name)
