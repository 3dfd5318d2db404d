"""The least that serving can cost: the same photo decoded, resized and put through the same network, without a server around it.

Every function prepares itself and returns the work to be timed (`benchmarks.common.Task`).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.weights import FORMS
from serving.images import read_photo
from serving.predictor import MAX_DECODING_MEMORY, Predictor


def answer(models: str, form: str, photos: str, number: str) -> Callable[[], object]:
    """Bytes to probabilities, one photo after the other in one thread."""
    predictor = Predictor(Path(models) / form, int8=form == FORMS[1])
    files, card = [path.read_bytes() for path in sorted(Path(photos).iterdir())], predictor.card

    def work() -> None:
        for position in range(int(number)):
            photo = read_photo(files[position % len(files)], card.image_size, card.resize, MAX_DECODING_MEMORY)
            predictor.look(photo.pixels)

    return work


def decode(models: str, photos: str, number: str) -> Callable[[], object]:
    """Bytes to the square alone."""
    card = Predictor(Path(models) / FORMS[0]).card
    files = [path.read_bytes() for path in sorted(Path(photos).iterdir())]

    def work() -> None:
        for position in range(int(number)):
            read_photo(files[position % len(files)], card.image_size, card.resize, MAX_DECODING_MEMORY)

    return work


def count_multiplications(model: Path) -> int:
    """Multiply-adds that one image takes in the convolutions and dense layers of an ONNX file."""
    import onnx

    network = onnx.load(model)
    network.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    graph = onnx.shape_inference.infer_shapes(network).graph
    weights = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    outputs = {
        value.name: tuple(max(1, dim.dim_value) for dim in value.type.tensor_type.shape.dim) for value in [*graph.value_info, *graph.output]
    }
    total = 0
    for node in graph.node:
        if node.op_type not in ("Conv", "MatMul", "Gemm") or node.input[1] not in weights or node.output[0] not in outputs:
            continue
        shape = weights[node.input[1]]
        # Of a convolution's weights, (outputs, inputs, height, width), all but the first act on each output; of a matrix, its rows.
        total += math.prod(outputs[node.output[0]]) * math.prod(shape[1:] if node.op_type == "Conv" else shape[:1])
    return total


def measure_multiplications_per_second() -> float:
    """Multiply-adds in a second that one core does in float32 at its best: in the product of two large matrices."""
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    side = 512
    matrix = np.random.default_rng(0).random((side, side), np.float32)
    with threadpool_limits(1):
        matrix @ matrix
        spent = []
        for _ in range(200):
            started = time.process_time()
            matrix @ matrix
            spent.append(time.process_time() - started)
    return side**3 / min(spent)
