"""Figures for operators: kept for Prometheus and, if configured, mirrored to StatsD as they change.

Keep label values few (a method, a status, a policy; never a path or an account): each combination is a
series that every process holds for ever.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar

if TYPE_CHECKING:
    import prometheus_client

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
# Read by prometheus_client when it is imported: where the workers of one service put their figures together.
SHARED_DIRECTORY: Final = "PROMETHEUS_MULTIPROC_DIR"
# Seconds: from a read out of memory to an upload that takes minutes.
DURATION_BUCKETS: Final = (0.001, 0.005, 0.025, 0.1, 0.5, 2.5, 10.0, 60.0, 300.0)
# Beyond this many series of one name, further ones are counted together under this label value.
SERIES_MAX: Final = 1000
OTHER: Final = "other"


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
        """Send no more."""
        self._socket.close()

    def send(self, name: str, labels: tuple[str, ...], value: str) -> None:
        """`value` carries its type, as in "1|c"; labels follow the name, separated by dots."""
        path = ".".join([name, *(label.replace(".", "_").replace(":", "_") for label in labels)])
        try:
            self._socket.send(f"{self._prefix}{path}:{value}".encode())
        except OSError:
            pass  # a server that is away must not harm the request


class _Family:
    """All series of one name, by their label values. `make` registers the name with prometheus_client."""

    def __init__(self, name: str, labels: tuple[str, ...], make: Callable[[], Any], statsd: StatsD | None) -> None:
        self.name = name
        self.labels = labels
        self._make = make
        self._statsd = statsd
        self._family: Any = None
        self._series: dict[tuple[str, ...], Any] = {}

    def _of(self, labels: tuple[str, ...]) -> Any:
        """One series, made when it is first used: until then the process need not load prometheus_client."""
        series = self._series.get(labels)
        if series is None:
            if len(self._series) >= SERIES_MAX:
                labels = (OTHER,) * len(self.labels)
            if self._family is None:
                self._family = self._make()
            series = self._series[labels] = self._family.labels(*labels) if self.labels else self._family
        return series


class Counter(_Family):
    """Something that only grows."""

    def add(self, *labels: str, amount: float = 1) -> None:
        """One value for each label, in their order."""
        self._of(labels).inc(amount)
        if self._statsd:
            self._statsd.send(self.name, labels, f"{amount:g}|c")


class Gauge(_Family):
    """Something that goes up and down. Workers of one service are summed."""

    def set(self, value: float, *labels: str) -> None:
        """One value for each label, in their order."""
        self._of(labels).set(value)
        if self._statsd:
            self._statsd.send(self.name, labels, f"{value:g}|g")


class Histogram(_Family):
    """How often something took how long, in seconds."""

    def observe(self, seconds: float, *labels: str) -> None:
        """One value for each label, in their order."""
        self._of(labels).observe(seconds)
        if self._statsd:
            self._statsd.send(self.name, labels, f"{seconds * 1000:.3f}|ms")


class Metrics:
    """The figures of one service. Asking for a name again gives the same figure.

    With a `directory` the workers forked from this process count together, and each of them can render the
    figures of all.
    """

    def __init__(self, directory: str = "", statsd: StatsD | None = None) -> None:
        self._directory = directory
        self._statsd = statsd
        self._families: dict[str, Counter | Gauge | Histogram] = {}
        self._registry: Any = None
        if directory:
            os.environ[SHARED_DIRECTORY] = directory

    @classmethod
    def shared(cls, directory: str, service: str, statsd: StatsD | None = None) -> Self:
        """For a service that is starting: its workers count together, from zero, in a folder below `directory`.

        Without a directory each worker counts for itself. Raises OSError if the folder cannot be made.
        """
        if not directory:
            return cls(statsd=statsd)
        folder = os.path.join(directory, service)
        os.makedirs(folder, exist_ok=True)
        for name in os.listdir(folder):
            if name.endswith(".db"):
                os.unlink(os.path.join(folder, name))
        return cls(folder, statsd)

    def counter(self, name: str, description: str, labels: tuple[str, ...] = ()) -> Counter:
        """`name` without the "_total" that Prometheus adds."""

        def make() -> prometheus_client.Counter:
            import prometheus_client

            return prometheus_client.Counter(name, description, labels, registry=self._load())

        return self._known(Counter, name, labels) or self._keep(Counter(name, labels, make, self._statsd))

    def gauge(self, name: str, description: str, labels: tuple[str, ...] = ()) -> Gauge:
        """A figure of now."""

        def make() -> prometheus_client.Gauge:
            import prometheus_client

            return prometheus_client.Gauge(
                name, description, labels, registry=self._load(), multiprocess_mode="livesum"
            )

        return self._known(Gauge, name, labels) or self._keep(Gauge(name, labels, make, self._statsd))

    def histogram(self, name: str, description: str, labels: tuple[str, ...] = ()) -> Histogram:
        """Durations; `name` ends in "_seconds"."""

        def make() -> prometheus_client.Histogram:
            import prometheus_client

            return prometheus_client.Histogram(
                name, description, labels, registry=self._load(), buckets=DURATION_BUCKETS
            )

        return self._known(Histogram, name, labels) or self._keep(Histogram(name, labels, make, self._statsd))

    def render(self) -> bytes:
        """All figures in Prometheus's text format, of content type CONTENT_TYPE."""
        import prometheus_client
        from prometheus_client.multiprocess import MultiProcessCollector

        registry = self._load()
        if self._directory:
            registry = prometheus_client.CollectorRegistry()
            MultiProcessCollector(registry, path=self._directory)  # type: ignore[no-untyped-call]
        return prometheus_client.generate_latest(registry)

    def forget_process(self, process_id: int) -> None:
        """A worker has ended: its gauges no longer count. Its counters do."""
        if self._directory:
            from prometheus_client.multiprocess import mark_process_dead

            mark_process_dead(process_id, path=self._directory)  # type: ignore[no-untyped-call]

    def _load(self) -> prometheus_client.CollectorRegistry:
        if self._registry is None:
            import prometheus_client

            # Or each figure would come with a second one that says when it was made.
            prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]
            self._registry = prometheus_client.CollectorRegistry()
        registry: prometheus_client.CollectorRegistry = self._registry
        return registry

    def _known(self, kind: type[Family], name: str, labels: tuple[str, ...]) -> Family | None:
        family = self._families.get(name)
        if family is None:
            return None
        if not isinstance(family, kind) or family.labels != labels:
            raise ValueError(f"{name} is in use with another type or other labels")
        return family

    def _keep(self, family: Family) -> Family:
        self._families[family.name] = family
        return family


Family = TypeVar("Family", Counter, Gauge, Histogram)
