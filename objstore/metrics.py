"""Metrics for operators: kept for Prometheus and, if configured, mirrored to StatsD as they change.

Counting is a look-up and an addition. Processes of one service put their metrics together in a folder, at most once a
second each, so that any of them can answer for all.

Keep label values few (a method, a status, a policy; never a path or an account): each combination is a
series that every process holds for ever. Count in greenlets only: real threads would lose each other's changes.
"""

from __future__ import annotations

import socket
from bisect import bisect_left
from typing import ClassVar, Final, Self, TypeVar

from msgspec.structs import replace

from objstore.metrics_folder import Family, MetricsFolder, MetricType, added
from objstore.system import concurrency

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
# Seconds: from a read out of memory to an upload that takes minutes.
DURATION_BUCKETS: Final = (0.001, 0.005, 0.025, 0.1, 0.5, 2.5, 10.0, 60.0, 300.0)
# Beyond this many series of one name, further ones are counted together under this label value.
SERIES_MAX: Final = 1000
OTHER: Final = "other"
# New names and the former ones, which the release after this one no longer exports.
FORMER_NAMES: Final = {
    "proxy_request_duration_seconds": "proxy_request_seconds",
    "object_request_duration_seconds": "object_request_seconds",
    "container_request_duration_seconds": "container_request_seconds",
    "account_request_duration_seconds": "account_request_seconds",
    "daemon_step_duration_seconds": "daemon_step_seconds",
    "object_missing_next_partition_links": "objects_not_linked_ahead",
}
# How old metrics of other processes may be.
SHARE_SECONDS: Final = 1.0


class StatsD:
    """Sends every change to a StatsD server, by UDP and without waiting; what gets lost is lost."""

    def __init__(self, host: str, port: int, prefix: str = "") -> None:
        """Raises OSError if the host is unknown."""
        self._prefix = f"{prefix}." if prefix else ""
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
        self._socket = socket.socket(family, kind, protocol)
        self._socket.setblocking(False)
        self._socket.connect(address)

    def close(self) -> None:
        self._socket.close()

    def send(self, name: str, labels: tuple[str, ...], value: str) -> None:
        """`value` carries its type, as in "1|c"; labels follow the name, separated by dots."""
        values = "".join("." + label.replace(".", "_").replace(":", "_") for label in labels)
        for each in (name, FORMER_NAMES.get(name)):
            if each is not None:
                try:
                    self._socket.send(f"{self._prefix}{each}{values}:{value}".encode())
                except OSError:
                    pass  # a server that is away must not harm the request


class _Series:
    """All series of one name, by their label values, with the numbers that Family describes."""

    __slots__ = ("_metrics", "_numbers", "_statsd", "description", "labels", "name")
    kind: ClassVar[MetricType]
    numbers_of_series: ClassVar[int]

    def __init__(self, name: str, description: str, labels: tuple[str, ...], metrics: Metrics) -> None:
        self.name = name
        self.description = description
        self.labels = labels
        self._metrics = metrics
        self._statsd = metrics.statsd
        self._numbers: dict[tuple[str, ...], list[float]] = {}

    def _of(self, labels: tuple[str, ...]) -> list[float]:
        """The numbers of one series, to be changed."""
        if not self._metrics.shared_soon:
            self._metrics.share_soon()
        try:
            return self._numbers[labels]
        except KeyError:
            return self._made(labels)

    def _made(self, labels: tuple[str, ...]) -> list[float]:
        if len(labels) != len(self.labels):
            raise ValueError(f"{self.name} has the labels {self.labels}, not {len(labels)}")
        if len(self._numbers) >= SERIES_MAX:
            labels = (OTHER,) * len(self.labels)
        return self._numbers.setdefault(labels, [0.0] * self.numbers_of_series)

    def forget(self) -> None:
        self._numbers.clear()

    def family(self) -> Family:
        """The state of now; shares its lists."""
        return Family(self.name, self.kind, self.description, self.labels, list(self._numbers.items()))


class Counter(_Series):
    """Something that only grows."""

    __slots__ = ()
    kind = MetricType.COUNTER
    numbers_of_series = 1

    def add(self, *labels: str, amount: float = 1) -> None:
        """One value for each label, in their order."""
        self._of(labels)[0] += amount
        if self._statsd is not None:
            self._statsd.send(self.name, labels, f"{amount:g}|c")


class Gauge(_Series):
    """Something that goes up and down. Processes are summed."""

    __slots__ = ()
    kind = MetricType.GAUGE
    numbers_of_series = 1

    def set(self, value: float, *labels: str) -> None:
        """One value for each label, in their order."""
        self._of(labels)[0] = value
        if self._statsd is not None:
            self._statsd.send(self.name, labels, f"{value:g}|g")


class Histogram(_Series):
    """How often something took how long, in seconds."""

    __slots__ = ()
    kind = MetricType.HISTOGRAM
    numbers_of_series = 2 + len(DURATION_BUCKETS)

    def observe(self, seconds: float, *labels: str) -> None:
        """One value for each label, in their order."""
        numbers = self._of(labels)
        numbers[0] += seconds
        numbers[1 + bisect_left(DURATION_BUCKETS, seconds)] += 1
        if self._statsd is not None:
            self._statsd.send(self.name, labels, f"{seconds * 1000:.3f}|ms")


class Metrics:
    """The metrics of one process. Asking for a name again gives the same metric."""

    def __init__(self, folder: MetricsFolder | None = None, statsd: StatsD | None = None) -> None:
        """With a `folder`, of a service whose processes count together: each then calls `join`."""
        self.statsd = statsd
        self.shared_soon = True  # nobody to share with
        self._folder = folder
        self._series: dict[str, Counter | Gauge | Histogram] = {}

    @classmethod
    def shared(cls, directory: str, service: str, statsd: StatsD | None = None) -> Self:
        """For a service that is starting: its processes count together, from zero. Raises OSError.

        Services that use one directory are rendered together.
        """
        folder = MetricsFolder(directory, service)
        folder.prepare()
        metrics = cls(folder, statsd)
        metrics.join()
        return metrics

    def counter(self, name: str, description: str, labels: tuple[str, ...] = ()) -> Counter:
        """`name` without the "_total" that Prometheus adds."""
        return self._known(Counter, name, description, labels)

    def gauge(self, name: str, description: str, labels: tuple[str, ...] = ()) -> Gauge:
        """A value that goes up and down."""
        return self._known(Gauge, name, description, labels)

    def histogram(self, name: str, description: str, labels: tuple[str, ...] = ()) -> Histogram:
        """Durations; `name` ends in "_seconds"."""
        return self._known(Histogram, name, description, labels)

    def join(self) -> None:
        """This process counts for itself, from zero: called after a fork, whose copy would count twice."""
        for series in self._series.values():
            series.forget()
        if self._folder is not None:
            self._folder.join()
            self.shared_soon = False

    def share_soon(self) -> None:
        """Something has changed that other processes of the service do not know yet."""
        self.shared_soon = True
        concurrency.call_later(SHARE_SECONDS, self.share)

    def share(self) -> None:
        """Tell the other processes of the service now, if there is anything to tell and a place for it."""
        if self._folder is None or not self.shared_soon:
            return
        self.shared_soon = False
        try:
            self._folder.write(self._families())
        except OSError:
            pass  # a full disk must not harm the request; the next change tries again

    def render(self) -> bytes:
        """The metrics of all processes in Prometheus's text format, of content type CONTENT_TYPE. Raises OSError."""
        from objstore.exposition import exposition

        self.share()
        families = self._families() if self._folder is None else added(self._folder.snapshots())
        former = [
            replace(family, name=FORMER_NAMES[family.name], description=f"Deprecated: is now {family.name}")
            for family in families
            if family.name in FORMER_NAMES
        ]
        return exposition(families + former, DURATION_BUCKETS)

    def forget_process(self, process_id: int) -> None:
        """A worker has ended: its gauges no longer count. Its counters do. Raises OSError."""
        if self._folder is not None:
            self._folder.fold(process_id)

    def _families(self) -> list[Family]:
        return [series.family() for series in self._series.values()]

    def _known(self, kind: type[Series], name: str, description: str, labels: tuple[str, ...]) -> Series:
        series = self._series.get(name)
        if series is None:
            series = self._series[name] = kind(name, description, labels, self)
        if not isinstance(series, kind) or series.labels != labels:
            raise ValueError(f"{name} is in use with another type or other labels")
        return series


Series = TypeVar("Series", Counter, Gauge, Histogram)
