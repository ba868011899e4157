"""Metrics in Prometheus's text format.

A module of its own, imported on the first scrape alone: prometheus_client takes memory in each process.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import accumulate

import prometheus_client
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector, CollectorRegistry

from objstore.metrics_folder import Family, MetricType


def exposition(families: Iterable[Family], bounds: tuple[float, ...]) -> bytes:
    """Prometheus's text format; `bounds` are the upper ends of the buckets."""
    registry = CollectorRegistry()
    registry.register(_Collected(families, bounds))
    return prometheus_client.generate_latest(registry)


class _Collected(Collector):
    """Families as prometheus_client wants them."""

    def __init__(self, families: Iterable[Family], bounds: tuple[float, ...]) -> None:
        self._families = sorted(families, key=lambda family: family.name)
        self._bounds = [*(repr(bound) for bound in bounds), "+Inf"]

    def collect(self) -> Iterator[CounterMetricFamily | GaugeMetricFamily | HistogramMetricFamily]:
        for family in self._families:
            yield self._converted(family)

    def _converted(self, family: Family) -> CounterMetricFamily | GaugeMetricFamily | HistogramMetricFamily:
        if family.kind is MetricType.HISTOGRAM:
            histogram = HistogramMetricFamily(family.name, family.description, labels=family.labels)
            for labels, (total, *counts) in family.series:
                histogram.add_metric(labels, list(zip(self._bounds, accumulate(counts), strict=True)), total)
            return histogram
        make = CounterMetricFamily if family.kind is MetricType.COUNTER else GaugeMetricFamily
        plain: CounterMetricFamily | GaugeMetricFamily = make(family.name, family.description, labels=family.labels)
        for labels, numbers in family.series:
            plain.add_metric(labels, numbers[0])
        return plain
