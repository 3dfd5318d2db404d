"""Probabilities that mean what they say, and when to say "not sure": what a trained network still learns from the validation photos.

Calibration is temperature scaling (Guo et al., "On Calibration of Modern Neural Networks", 2017): one number that divides what enters the
softmax. It is folded into the head, so Keras, ONNX and int8 have it alike and no label changes. Then two thresholds are set: on the
probability of the label, for photos that might be another class, and on the peak of the evidence (`serving.activation`), for photos that
may be none of the classes. Both exclude equally many validation photos, and together as many as the recipe allows.
"""

from __future__ import annotations

from dataclasses import dataclass

import keras
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax
from scipy.stats import rankdata

from components.common.dataset import Dataset
from components.common.metrics import METRICS
from components.common.progress import say
from components.train.network import Floats, divide_head, with_class_activation
from serving.activation import find_peak

_BATCH = 32
#: More would hardly change one number, and each costs a pass through the network.
_MOST_IMAGES = 2000
_TEMPERATURES = (0.05, 20.0)
_REPORTED = ("log_loss", "calibration_error")


@dataclass(frozen=True)
class Calibration:
    """What came of it.

    Attributes:
        temperature: What the head was divided by.
        not_sure_below: Threshold on the probability of the label.
        unfamiliar_below: Threshold on the peak of the evidence.
        metrics: To report: on the validation photos, before and after.
    """

    temperature: float
    not_sure_below: float
    unfamiliar_below: float
    metrics: dict[str, float]


def calibrate(network: keras.Model, dataset: Dataset, not_sure_share: float) -> Calibration:
    """Fit the temperature and fold it into the head of `network`; then set the thresholds.

    Args:
        network: A trained one.
        dataset: Its validation photos are asked, at most 2000 of them, spread evenly.
        not_sure_share: Share of these photos that may be answered with "not sure".
    """
    images = dataset.images("validation")
    rows = np.unique(np.linspace(0, len(images) - 1, _MOST_IMAGES).astype(np.int64))
    ask = with_class_activation(network).predict_on_batch
    batches = (images.take(rows[start : start + _BATCH]).astype(np.float32) for start in range(0, len(rows), _BATCH))
    # Of each map no more than what is needed of it: large ones of many classes would fill the memory.
    maps = (np.asarray(ask(batch)[1], np.float64) for batch in batches)
    summaries = [(activation.mean(axis=(1, 2)), find_peak(activation)) for activation in maps]
    logits, peaks = (np.concatenate(parts) for parts in zip(*summaries, strict=True))
    labels = dataset.labels("validation")[rows]
    temperature = fit_temperature(logits, labels)
    divide_head(network, temperature)
    before, after = softmax(logits, axis=1), softmax(logits / temperature, axis=1)
    not_sure_below, unfamiliar_below = choose_thresholds(after.max(axis=1), peaks / temperature, not_sure_share)
    metrics = {"calibration.temperature": temperature, "calibration.num_images": float(len(rows))}
    for name in _REPORTED:
        metrics |= {f"calibration.{name}.{when}": METRICS[name](labels, said) for when, said in (("before", before), ("after", after))}
    say(state_calibration(metrics))
    return Calibration(temperature, not_sure_below, unfamiliar_below, metrics)


def state_calibration(metrics: dict[str, float]) -> str:
    """What the temperature did, in a line; where the log-loss rose, the imagined images of `fit_temperature` did it, on purpose."""
    before, after = (metrics[f"calibration.log_loss.{when}"] for when in ("before", "after"))
    told = ", ".join(
        f"{name.replace('_', ' ')} {metrics[f'calibration.{name}.before']:.3f} -> {metrics[f'calibration.{name}.after']:.3f}"
        for name in _REPORTED
    )
    modest = " (kept modest, for so few images)" if after > before else ""
    return (
        f"temperature {metrics['calibration.temperature']:.2f} on {metrics['calibration.num_images']:.0f} validation images: {told}{modest}"
    )


def fit_temperature(logits: Floats, labels: NDArray[np.int64]) -> float:
    """The temperature with the least log-loss.

    As in Platt, "Probabilistic outputs for support vector machines" (1999), two imagined images about which nothing is known are added,
    shared evenly by the classes: a network that is right on every image of few would otherwise be told to be certain. One for each class,
    which is the same for two, would outweigh the real ones where classes are many.

    Args:
        logits: What enters the softmax, shape (n, num_classes).
        labels: Class numbers, shape (n,).
    """
    num_images, num_classes = logits.shape
    targets = (np.eye(num_classes)[labels] * num_images + 2 / num_classes) / (num_images + 2)

    def loss(log_temperature: float) -> float:
        return float(-(targets * log_softmax(logits / np.exp(log_temperature), axis=1)).sum())

    return float(np.exp(minimize_scalar(loss, bounds=np.log(_TEMPERATURES), method="bounded").x))


def choose_thresholds(confidence: Floats, peak: Floats, share: float) -> tuple[float, float]:
    """Thresholds below which at most `share` of the photos are, in one or in both; each excludes as many as the other.

    Args:
        confidence: Probability of the label, shape (n,).
        peak: Of the evidence, shape (n,).
        share: At most this share of the photos.
    """
    ranks = np.minimum(rankdata(confidence, "min"), rankdata(peak, "min"))
    # The photo of this rank is the first to stay.
    last = np.sort(ranks)[min(int(share * len(ranks)), len(ranks) - 1)]
    return float(np.sort(confidence)[int(last) - 1]), float(np.sort(peak)[int(last) - 1])
