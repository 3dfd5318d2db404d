"""Whether the photos that a model is asked about are still like those that it was judged on.

In: decoded photos and what the network said of them. Out: a few numbers for each (`measure`), how these were distributed over the held-out
photos of the dataset (`Reference`, written beside the network when a version is registered), how they are over the photos of late
(`Window`), and the distance between both. No photo is kept, and memory does not grow with their number.

The distance is the population stability index (Lewis, "An Introduction to Credit Scoring", 1994). By chance alone it follows a scaled
chi-squared distribution (Yurdakul and Naranjo, "Statistical properties of the population stability index", Journal of Risk Model
Validation, 2020), which says how much of it means nothing.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving.activation import Floats, find_peak
from serving.images import Pixels

log = logging.getLogger(__name__)

REFERENCE_FILE = "reference.json"

#: What is measured of a photo -> what it is. The last three are the network's.
MEASURES = {
    "brightness": "mean level of the grey photo, 0 to 255",
    "contrast": "standard deviation of these levels",
    "colour": "mean distance between the strongest and the weakest of red, green and blue",
    "sharpness": "standard deviation of the Laplacian of green; a blurred photo has little",
    "size": "geometric mean of width and height, in pixels",
    "aspect": "width over height, to the nearest 0.05",
    "probability": "of the label",
    "evidence": "its peak, which is low where the network sees nothing that it knows",
    "label": "which class was named",
    "not_sure": "whether the answer was not sure, by the model's own thresholds",
}

#: An index above this, and above what chance explains, counts as moved (how it was chosen: docs/monitoring.md).
NOTABLE = 0.25
#: Photos before anything is said to have moved.
FEWEST = 100

#: Photos of late that are compared.
WINDOW = 1000

_NUM_BINS = 10
#: About so many pixels across are enough for means, whatever the size of the square.
_SAMPLES_ACROSS = 64
#: Quantile of the normal distribution that belongs to one chance in a thousand.
_RARE = 3.0902


def measure(
    pixels: Pixels, width: int, height: int, probabilities: Floats, activation: Floats, *, not_sure: bool = False
) -> NDArray[np.float64]:
    """The numbers of `MEASURES`, in their order.

    Args:
        pixels: The square that the network saw, uint8 RGB (size, size, 3).
        width: Of the photo as it came, in pixels.
        height: Likewise.
        probabilities: What the network said, (num_classes,).
        activation: Likewise, (height, width, num_classes); see `serving.activation`.
        not_sure: Whether that counts as not sure.
    """
    step = max(1, len(pixels) // _SAMPLES_ACROSS)
    few = pixels[::step, ::step].astype(np.float32)
    red, green, blue = few[..., 0], few[..., 1], few[..., 2]
    grey = 0.299 * red + 0.587 * green + 0.114 * blue
    spread = np.maximum(np.maximum(red, green), blue) - np.minimum(np.minimum(red, green), blue)
    laplacian = _find_laplacian(pixels[..., 1], step)
    label = int(np.argmax(probabilities))
    return np.array(
        [
            grey.mean(),
            grey.std(),
            spread.mean(),
            laplacian.std(),
            (width * height) ** 0.5,
            # Collections have favourite shapes, and halving a photo must not move 1.333 to 1.337 across the edge of a bin.
            round(20 * width / height) / 20,
            probabilities[label],
            find_peak(activation),
            label,
            not_sure,
        ],
        np.float64,
    )


def _find_laplacian(channel: NDArray[np.uint8], step: int) -> NDArray[np.float32]:
    """Of every `step`-th pixel, against its four direct neighbours."""
    inner, before, after = slice(1, -1, step), slice(0, -2, step), slice(2, None, step)
    around = [channel[place].astype(np.float32) for place in ((before, inner), (after, inner), (inner, before), (inner, after))]
    return np.asarray(4 * channel[inner, inner].astype(np.float32) - around[0] - around[1] - around[2] - around[3])


@dataclass(frozen=True)
class Bins:
    """How one measure is distributed.

    Attributes:
        edges: Upper ends of all bins but the last, ascending; a value on an edge belongs below it.
        counts: Photos in each bin, one more than there are edges.
    """

    edges: tuple[float, ...]
    counts: tuple[int, ...]


@dataclass(frozen=True)
class Reference:
    """How the measures were distributed over held-out photos.

    Attributes:
        num_photos: How many.
        measures: Of each of `MEASURES`; of fewer, where an older version of this project wrote it.
    """

    num_photos: int
    measures: dict[str, Bins]

    @classmethod
    def describe(cls, measured: NDArray[np.float64], num_classes: int) -> Reference:
        """Count photos.

        Args:
            measured: What `measure` said of each, shape (n, len(MEASURES)).
            num_classes: Of the model.
        """
        fixed = {"label": [float(number) for number in range(num_classes - 1)], "not_sure": [0.0]}
        measures = {}
        for name, values in zip(MEASURES, measured.T, strict=True):
            edges = fixed.get(name) or _find_edges(values)
            numbers = np.searchsorted(edges, values)
            measures[name] = Bins(tuple(edges), tuple(np.bincount(numbers, minlength=len(edges) + 1).tolist()))
        return cls(len(measured), measures)

    @classmethod
    def read(cls, folder: Path) -> Reference | None:
        """What lies beside a network; None where there is nothing, or it is damaged: a network answers without it."""
        path = folder / REFERENCE_FILE
        if not path.is_file():
            return None
        try:
            values = json.loads(path.read_bytes())
            written = {name: _read_bins(bins) for name, bins in values["measures"].items()}
            num_photos = int(values["num_photos"])
            if num_photos < 1:
                raise ValueError(f"it is of {num_photos} photos")
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            log.warning("%s is damaged (%r), so nothing is said of drift", path, error)
            return None
        missing = [name for name in MEASURES if name not in written]
        if missing:
            log.warning("%s lacks %s, of which nothing is said", path, ", ".join(missing))
        return cls(num_photos, {name: written[name] for name in MEASURES if name in written})

    def write(self, folder: Path) -> None:
        """Save it beside a network."""
        (folder / REFERENCE_FILE).write_text(json.dumps(asdict(self), indent=1))


def _read_bins(values: dict[str, Any]) -> Bins:
    edges, counts = tuple(map(float, values["edges"])), tuple(map(int, values["counts"]))
    if len(counts) != len(edges) + 1 or not all(low < high for low, high in pairwise(edges)):
        raise ValueError(f"{len(counts)} bins with {len(edges)} edges between them, which should ascend")
    return Bins(edges, counts)


def _find_edges(values: NDArray[np.float64]) -> list[float]:
    """Tenths of the photos; and what lies outside of all that was seen has bins of its own, so that a constant measure can move too."""
    tenths = np.quantile(values, np.arange(1, _NUM_BINS) / _NUM_BINS)
    return [float(edge) for edge in np.unique([np.nextafter(values.min(), -np.inf), *tenths, values.max()])]


@dataclass(frozen=True)
class Drift:
    """How far one measure has moved.

    Attributes:
        index: The population stability index.
        limit: Above it, the measure counts as moved.
        moved: Whether it is above, and enough photos were seen.
        edges: See `Bins`.
        then: Share of the reference's photos in each bin.
        now: Share of the photos of late.
    """

    index: float
    limit: float
    moved: bool
    edges: tuple[float, ...]
    then: tuple[float, ...]
    now: tuple[float, ...]


class Window:
    """The last photos that a model was asked about, as the bins that they fell into. Not safe to use from several threads."""

    def __init__(self, reference: Reference, size: int = WINDOW) -> None:
        """Start empty; `size` photos are remembered."""
        self.reference = reference
        self.num_photos = 0
        bins = list(reference.measures.values())
        self._counts = [np.zeros(len(one.counts), np.int64) for one in bins]
        self._edges = [one.edges for one in bins]
        self._columns = [list(MEASURES).index(name) for name in reference.measures]
        self._ring = np.zeros((size, len(bins)), np.uint16)
        self._next = 0

    def add(self, measured: NDArray[np.float64]) -> None:
        """Count one photo, and forget the oldest if the window is full."""
        row = self._ring[self._next]
        for number, (edges, counts, value) in enumerate(zip(self._edges, self._counts, measured[self._columns], strict=True)):
            if self.num_photos == len(self._ring):
                counts[row[number]] -= 1
            row[number] = np.searchsorted(edges, value)
            counts[row[number]] += 1
        self.num_photos = min(self.num_photos + 1, len(self._ring))
        self._next = (self._next + 1) % len(self._ring)

    def compare(self) -> dict[str, Drift]:
        """How far each measure has moved; empty before there is a photo."""
        if not self.num_photos:
            return {}
        return {
            name: _compare(bins, self.reference.num_photos, counts, self.num_photos)
            for (name, bins), counts in zip(self.reference.measures.items(), self._counts, strict=True)
        }


def _compare(then: Bins, num_then: int, now: NDArray[np.int64], num_now: int) -> Drift:
    index = stability_index(then.counts, now)
    limit = max(NOTABLE, explain_by_chance(len(now), num_then, num_now))
    shares = [tuple((np.asarray(counts) / max(1, np.sum(counts))).tolist()) for counts in (then.counts, now)]
    return Drift(index, limit, num_now >= FEWEST and index > limit, then.edges, shares[0], shares[1])


def stability_index(then: Sequence[int], now: Sequence[int] | NDArray[np.int64]) -> float:
    """Sum over the bins of the difference between the shares times the difference between their logarithms.

    Each bin gets half a photo more, so that an empty one does not make the index infinite.
    """
    first, second = (np.asarray(counts, np.float64) + 0.5 for counts in (then, now))
    first, second = first / first.sum(), second / second.sum()
    return float(((second - first) * np.log(second / first)).sum())


def explain_by_chance(num_bins: int, num_then: int, num_now: int) -> float:
    """The index that two samples of the same kind exceed once in a thousand times.

    The quantile of chi-squared is Wilson and Hilferty's approximation (1931), too large by a few per cent at worst, so that serving needs
    no SciPy.
    """
    freedom = num_bins - 1
    quantile = freedom * (1 - 2 / (9 * freedom) + _RARE * (2 / (9 * freedom)) ** 0.5) ** 3
    return float(quantile * (1 / num_then + 1 / num_now))
