"""Features of images under a pretrained network, computed once and kept.

In: a network and stored squares. Out: its pooled features, float32 (n, channels). They are computed through ONNX Runtime on all cores, in
float32 or int8, and stored by content, a thousand rows an entry: another candidate with the same backbone and images finds them, and so
does the run after a killed one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
from onnxruntime import InferenceSession

from components.common.dataset import Dataset
from components.common.progress import say, track
from components.common.shards import Images
from components.common.store import Record, produce, read_record
from components.train.export import export_onnx, open_session
from components.train.network import Floats, pooled_features
from components.train.quantization import quantize, sample_for_calibration
from serving.cores import num_cores

_FEATURES, _BACKBONE = "features.npy", "backbone.onnx"
#: Of one batch: so many that the activations between two layers stay in the cache of a core.
_PIXELS_PER_BATCH = 1 << 17
#: Rows of one stored entry: what a killed run loses at most.
_ROWS_PER_ENTRY = 1024


@dataclass(frozen=True)
class Backbone:
    """A network up to its pooled features, as a file.

    Attributes:
        file: ONNX, from `image` to `features` (n, channels).
        key: Identifies what it computes.
        cpu_seconds_before: What making it took, if it had been made before.
    """

    file: Path
    key: dict[str, object]
    cpu_seconds_before: float


def export_backbone(build: Callable[[], keras.Model], key: dict[str, object], dataset: Dataset, *, int8: bool) -> Backbone:
    """Write the part of a network that frozen training uses, or find it.

    Args:
        build: Makes the network, if it must be made; its weights up to the head matter.
        key: Identifies these weights: architecture, options, sizes.
        dataset: Whose training images calibrate int8.
        int8: Whether it computes in 8 bits.
    """

    def compute(folder: Path) -> Record:
        started = time.process_time()
        export_onnx(pooled_features(build()), folder / _BACKBONE, ["features"])
        if int8:
            quantize(folder / _BACKBONE, folder / _BACKBONE, sample_for_calibration(dataset))
        return _state_cost(started)

    key = {"backbone": key, "int8": dataset.digest if int8 else None}
    entry, reused = produce("train", key, compute)
    return Backbone(entry / _BACKBONE, key, _read_cost(entry) if reused else 0.0)


def extract_features(backbone: Backbone, images: Mapping[str, tuple[Images, str]], description: str) -> tuple[Floats, float]:
    """Pooled features of images, float32 (n, channels); and the CPU-seconds that those took which had been computed before.

    Args:
        backbone: Computes them.
        images: What they are -> the images, and what identifies them.
        description: For the progress bar.
    """
    # One thread for each batch and a batch for each core: the threads then never wait for each other within a layer.
    session = open_session(backbone.file, num_threads=1)
    # One array filled bit by bit: for many images, a second copy of their features is more than all else that training holds.
    num_features = session.get_outputs()[0].shape[-1]
    features, stop, cpu_seconds_before = np.empty((sum(len(pixels) for pixels, _ in images.values()), num_features), np.float32), 0, 0.0
    for what, (pixels, origin) in images.items():
        for some, seconds in _extract(session, backbone, pixels, origin, f"{description}: {what}"):
            features[stop : stop + len(some)] = some
            stop, cpu_seconds_before = stop + len(some), cpu_seconds_before + seconds
    return features, cpu_seconds_before


def _extract(
    session: InferenceSession, backbone: Backbone, images: Images, origin: str, description: str
) -> Iterator[tuple[Floats, float]]:
    """Yield the features entry by entry, each with what it took if it was there."""
    num_reused = 0
    batch_size = max(1, _PIXELS_PER_BATCH // len(images[0]) ** 2)

    def compute_batch(start: int, stop: int) -> Floats:
        features: Floats = session.run(None, {"image": images[start:stop].astype(np.float32)})[0]
        return features

    with ThreadPoolExecutor(num_cores()) as pool:
        for start, stop in track(list(_slices(0, len(images), _ROWS_PER_ENTRY)), description, unit="part"):

            def compute(folder: Path, start: int = start, stop: int = stop) -> Record:
                started = time.process_time()
                batches = pool.map(compute_batch, *zip(*_slices(start, stop, batch_size), strict=True))
                np.save(folder / _FEATURES, np.concatenate(list(batches)))
                return _state_cost(started)

            entry, reused = produce("train", {**backbone.key, "images": origin, "rows": [start, stop]}, compute)
            num_reused += (stop - start) * reused
            yield np.load(entry / _FEATURES), _read_cost(entry) if reused else 0.0
    if num_reused:
        say(f"{description}: {num_reused} of {len(images)} reused")


def _state_cost(started: float) -> Record:
    return Record(metrics={"cpu_seconds": time.process_time() - started})


def _read_cost(entry: Path) -> float:
    return read_record(entry).metrics["cpu_seconds"]


def _slices(start: int, stop: int, size: int) -> Iterator[tuple[int, int]]:
    return ((first, min(first + size, stop)) for first in range(start, stop, size))
