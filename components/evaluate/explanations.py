"""Whether heat maps can be believed, as numbers.

Two tests, on test images that the candidate gets right. Masking where the map is hot must cost the label more than masking as large an area
elsewhere (Samek et al., "Evaluating the Visualization of What a Deep Neural Network Has Learned", 2017). And a network whose weights
were shuffled must give another map (Adebayo et al., "Sanity Checks for Saliency Maps", 2018): one that looks the same shows the image and
not what was learned.
"""

from __future__ import annotations

import shutil
import tempfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper
from scipy.special import logit
from scipy.stats import binomtest, spearmanr

from components.common.parallel import map_on_all_cores
from components.common.progress import track
from components.common.shards import Images
from serving.images import Pixels
from serving.predictor import CARD_FILE, MODEL_FILE, Predictor

MOST_IMAGES = 60
#: Share of the image that is masked.
_MASKED = 0.2
#: Places elsewhere that the mask is moved to; their mean is compared.
_NUM_PLACES = 3
_LEAST_DOUBT = 1e-6

Map = NDArray[np.float32]


def check_explanations(candidate: Path, images: Images, labels: list[str], rows: NDArray[np.int64], seed: int) -> dict[str, Any]:
    """`masking` and `randomised`, each with its n.

    Args:
        candidate: Folder of the candidate.
        images: Of the test split.
        labels: Of all of them.
        rows: Those that the candidate gets right; at most 60 are used, evenly spread.
        seed: Of the places and of the shuffled weights.
    """
    rows = rows[np.unique(np.linspace(0, len(rows) - 1, MOST_IMAGES).astype(np.int64))] if len(rows) else rows
    with tempfile.TemporaryDirectory(prefix="pawflow-") as folder:
        shuffled = _shuffle_weights(candidate, Path(folder), seed)
        predictor = Predictor(candidate)

        def check(row: int) -> tuple[float, float, float]:
            pixels, label = images[row], labels[row]
            heat = predictor.explain(pixels, label)
            hot, elsewhere = _mask(predictor, pixels, label, heat, np.random.default_rng([seed, row]))
            return hot, elsewhere, _correlate(heat, shuffled.explain(pixels, label))

        checks = track(map_on_all_cores(check, [int(row) for row in rows]), "checking explanations", total=len(rows))
        hot, elsewhere, alike = np.array(list(checks)).reshape(-1, 3).T
    return {"masking": _summarise(hot, elsewhere), "randomised": {"n": len(alike), "rank_correlation": _mean(np.abs(alike))}}


def _mask(predictor: Predictor, pixels: Pixels, label: str, heat: Map, generator: np.random.Generator) -> tuple[float, float]:
    """How much the label's log-odds fall when its hottest part is covered, and when the same shape is covered elsewhere."""
    number = predictor.card.classes.index(label)
    covered = heat >= np.quantile(heat, 1 - _MASKED)
    shifts = generator.integers(len(heat) // 4, 3 * len(heat) // 4 + 1, (_NUM_PLACES, 2))
    masks = [covered, *(np.roll(covered, shift, axis=(0, 1)) for shift in shifts.tolist())]
    # In the image's own mean colour, which is less of a signal than black.
    colour = pixels.mean(axis=(0, 1)).astype(np.uint8)
    scores = [predictor.score(image)[number] for image in (pixels, *(np.where(mask[..., np.newaxis], colour, pixels) for mask in masks))]
    odds = logit(np.clip(np.array(scores, np.float64), _LEAST_DOUBT, 1 - _LEAST_DOUBT))
    return float(odds[0] - odds[1]), float(odds[0] - odds[2:].mean())


def _summarise(hot: NDArray[np.float64], elsewhere: NDArray[np.float64]) -> dict[str, Any]:
    num_lower = int((hot > elsewhere).sum())
    interval = binomtest(num_lower, len(hot)).proportion_ci(method="wilson") if len(hot) else None
    return {
        "n": len(hot),
        "share_masked": _MASKED,
        "share": num_lower / len(hot) if len(hot) else float("nan"),
        "low": interval.low if interval else float("nan"),
        "high": interval.high if interval else float("nan"),
        "drop_hot": _mean(hot),
        "drop_elsewhere": _mean(elsewhere),
    }


def _mean(values: NDArray[np.float64]) -> float:
    return float(values.mean()) if len(values) else float("nan")


def _correlate(first: Map, second: Map) -> float:
    """Spearman's rank correlation of two maps; 0 where one is constant or no number."""
    if not (np.ptp(first) > 0 and np.ptp(second) > 0):
        return 0.0
    step = max(1, len(first) // 32)
    return float(spearmanr(first[::step, ::step].ravel(), second[::step, ::step].ravel()).statistic)


def _shuffle_weights(candidate: Path, folder: Path, seed: int) -> Predictor:
    """The same network with the values of each of its kernels in random order."""
    network = onnx.load(candidate / MODEL_FILE)
    for weights in network.graph.initializer:
        values = numpy_helper.to_array(weights)
        if values.dtype == np.float32 and values.ndim > 1:
            # In what order the exporter writes the kernels, and how it names them, changes from one export to the next.
            generator = np.random.default_rng([seed, zlib.crc32(values.tobytes())])
            weights.CopyFrom(numpy_helper.from_array(generator.permutation(values.ravel()).reshape(values.shape), weights.name))
    onnx.save(network, folder / MODEL_FILE)
    shutil.copy(candidate / CARD_FILE, folder)
    return Predictor(folder)
