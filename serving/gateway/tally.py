"""What one version has answered since it was loaded, and how far the photos have moved from those that it was judged on.

In: each photo's answer and measures. Out: counts for `/drift`, and the drift of which Prometheus is told. Numbers alone are kept, of
constant size; a version that is loaded again begins anew, and a restart forgets everything that Prometheus has not fetched.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from serving.drift import MEASURES, Drift, Reference, Window
from serving.predictor import Examined

#: Upper ends of the bins in which probabilities of labels are counted, here and for Prometheus.
PROBABILITY_BINS = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 0.999, 1.0)


class Tally:
    """Counts for one version. Not safe to use from several threads: the gateway counts in its event loop."""

    def __init__(self, classes: tuple[str, ...], reference: Reference | None) -> None:
        """Start at zero; without a reference nothing is said of drift."""
        self._since = datetime.now(UTC)
        self._labels = dict.fromkeys(classes, 0)
        self._num_not_sure = 0
        self._probabilities = [0] * len(PROBABILITY_BINS)
        self._window = Window(reference) if reference else None

    def add(self, examined: Examined) -> None:
        """Count one photo."""
        answer = examined.answer
        self._labels[answer["label"]] += 1
        self._num_not_sure += examined.not_sure
        self._probabilities[min(bisect_left(PROBABILITY_BINS, answer["probability"]), len(PROBABILITY_BINS) - 1)] += 1
        if self._window:
            self._window.add(examined.measured)

    @property
    def num_recent(self) -> int:
        """Photos that the comparison is about."""
        return self._window.num_photos if self._window else 0

    def compare(self) -> dict[str, Drift]:
        """See `Window.compare`; empty without a reference too."""
        return self._window.compare() if self._window else {}

    def describe(self) -> dict[str, Any]:
        """Everything, for JSON; see `schemas.Watched`."""
        reference = self._window.reference.num_photos if self._window else None
        return {
            "since": self._since.isoformat(timespec="seconds"),
            "photos": sum(self._labels.values()),
            "classes": list(self._labels),
            "labels": self._labels,
            "not_sure": self._num_not_sure,
            "probabilities": [{"at_most": end, "photos": count} for end, count in zip(PROBABILITY_BINS, self._probabilities, strict=True)],
            "reference_photos": reference,
            "recent_photos": self.num_recent,
            "measures": [{"name": name, "what": MEASURES[name], **asdict(drift)} for name, drift in self.compare().items()],
        }
