"""What Prometheus is told: the text of `/metrics`. Nothing of a photo is in it.

In: counts of requests and answers as they happen, and what is going on at the moment of asking. Out: a registry of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Metric, PlatformCollector, ProcessCollector
from prometheus_client.core import GaugeMetricFamily

from serving.gateway.sources import Version
from serving.gateway.tally import PROBABILITY_BINS
from serving.predictor import Examined


class Metrics:
    """The gateway's own Prometheus registry. Not safe to use from several threads where it counts answers: the event loop does."""

    def __init__(self, num_admitted: Callable[[], int], num_buffered: Callable[[], int], leaders: Callable[[], Iterable[Version]]) -> None:
        """Take the functions that tell what is going on right now."""
        self.registry = CollectorRegistry()
        self.registry.register(DriftCollector(leaders))
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        names = ("method", "route", "status")
        self.requests = Counter("pawflow_requests", "Requests answered", names, registry=self.registry)
        self.seconds = Histogram("pawflow_request_seconds", "From first byte to last", ("route",), registry=self.registry)
        self.photo_seconds = Histogram(
            "pawflow_photo_seconds",
            "Computing one photo: decoding and the network",
            ("version",),
            buckets=(0.002, 0.004, 0.006, 0.008, 0.012, 0.016, 0.024, 0.032, 0.064, 0.128, 0.256, 0.512, 1.024),
            registry=self.registry,
        )
        self.answers = Counter("pawflow_answers", "Photos classified", ("version", "label", "not_sure"), registry=self.registry)
        self.probability = Histogram(
            "pawflow_answer_probability", "Of the label", ("version",), buckets=PROBABILITY_BINS, registry=self.registry
        )
        self.unreadable = Counter("pawflow_unreadable_photos", "Photos that could not be decoded", registry=self.registry)
        self.reloads = Counter("pawflow_reloads", "Times that a leading version changed", registry=self.registry)
        self.versions = Gauge(
            "pawflow_version_info", "Versions that lead", ("model", "alias", "version", "precision"), registry=self.registry
        )
        self.healthy = Gauge("pawflow_registry_up", "Whether the registry was read at the last try", registry=self.registry)
        Gauge("pawflow_admitted_requests", "Computing or waiting to", registry=self.registry).set_function(num_admitted)
        Gauge("pawflow_buffered_bytes", "Held of requests that are being read or answered", registry=self.registry).set_function(
            num_buffered
        )

    def count_answer(self, version: Version, examined: Examined) -> None:
        """Count what was said of one photo: for Prometheus, and in the tally that `/drift` shows."""
        version.tally.add(examined)
        self.answers.labels(version.number, examined.answer["label"], str(examined.not_sure).lower()).inc()
        self.probability.labels(version.number).observe(examined.answer["probability"])


class DriftCollector:
    """Computes the indices when Prometheus asks, and not before."""

    def __init__(self, leaders: Callable[[], Iterable[Version]]) -> None:
        """Take the function that tells which versions lead now; one may lead under two aliases."""
        self._leaders = leaders

    def collect(self) -> Iterable[Metric]:
        """See `prometheus_client.registry.Collector`."""
        index = GaugeMetricFamily("pawflow_drift", "Population stability index of late", labels=("version", "measure"))
        limit = GaugeMetricFamily("pawflow_drift_limit", "Above it, it counts as moved", labels=("version", "measure"))
        recent = GaugeMetricFamily("pawflow_drift_photos", "Photos that the index is about", labels=("version",))
        for number, tally in {version.number: version.tally for version in self._leaders()}.items():
            recent.add_metric([number], tally.num_recent)
            for name, drift in tally.compare().items():
                index.add_metric([number, name], drift.index)
                limit.add_metric([number, name], drift.limit)
        return index, limit, recent
