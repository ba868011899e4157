"""Logs each request in one line and counts it, alike for every server."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final
from urllib.parse import quote

from objstore.http.messages import Environ, StartResponse, WsgiApplication
from objstore.metrics import Metrics
from objstore.runtime import Runtime

# The server calls what it finds here when the response has left, or could not.
SENT: Final = "objstore.sent"
CLIENT_LEFT: Final = "499"
# Clients choose methods; each label value is a series for ever.
METHODS: Final = frozenset({"GET", "HEAD", "PUT", "POST", "DELETE", "COPY", "OPTIONS", "UPDATE", "REPLICATE"})

OPTIONAL_FIELDS: Final = (("query", "QUERY_STRING"), ("received", "CONTENT_LENGTH"), ("agent", "HTTP_USER_AGENT"))


class RequestMetrics:
    """How many requests a service answered, how, and how fast."""

    __slots__ = ("_durations", "_received", "_requests", "_sent")

    def __init__(self, metrics: Metrics, service: str, kinds: tuple[str, ...] = ()) -> None:
        """`kinds` are names of labels that divide all metrics further."""
        self._requests = metrics.counter(f"{service}_requests", "Requests answered", (*kinds, "method", "status"))
        self._durations = metrics.histogram(
            f"{service}_request_duration_seconds",
            "From a request's head to the last byte of its response",
            (*kinds, "method"),
        )
        self._sent = metrics.counter(f"{service}_sent_bytes", "Bytes of bodies sent to clients", kinds)
        self._received = metrics.counter(f"{service}_received_bytes", "Bytes of bodies announced by clients", kinds)

    def count(self, environ: Environ, method: str, status: str, seconds: float, sent: int, *kind: str) -> None:
        if method not in METHODS:
            method = "other"
        self._requests.add(*kind, method, status)
        self._durations.observe(seconds, *kind, method)
        if sent:
            self._sent.add(*kind, amount=sent)
        received = environ.get("CONTENT_LENGTH")
        if received and received.isdecimal():
            self._received.add(*kind, amount=int(received))


def access_fields(
    environ: Environ, method: str, path: str, status: str, sent: int, first: float, duration: float, transaction: str
) -> dict[str, object]:
    """What a line says of any request. What a request does not have takes no room."""
    fields: dict[str, object] = {
        "client": environ.get("REMOTE_ADDR", ""),
        "method": method,
        "path": path,
        "status": status,
        "sent": sent,
        "ttfb": first,
        "duration": duration,
    }
    if transaction:
        fields["trans_id"] = transaction
    for name, variable in OPTIONAL_FIELDS:
        value = environ.get(variable)
        if value:
            fields[name] = value
    return fields


class Observed:
    """A storage server whose requests are logged and, if somebody reads the metrics, counted."""

    __slots__ = ("_application", "_log", "_metrics", "_monotonic", "_writes")

    def __init__(self, application: WsgiApplication, runtime: Runtime, metrics: RequestMetrics | None) -> None:
        self._application = application
        self._metrics = metrics
        self._log = runtime.log
        self._writes = runtime.log.writes_access
        self._monotonic = runtime.clock.monotonic

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        monotonic, writes = self._monotonic, self._writes
        begun = answered = monotonic()
        status = ""

        def started(line: str, *others: Any) -> Any:
            nonlocal status, answered
            status = line[:3]
            if writes:
                answered = monotonic()
            return start_response(line, *others)

        def sent(size: int, complete: bool) -> None:
            code = status if complete else CLIENT_LEFT
            duration = monotonic() - begun
            if self._metrics is not None:
                self._metrics.count(environ, environ["REQUEST_METHOD"], code, duration, size)
            if writes:
                self._write(environ, code, size, answered - begun, duration)

        environ[SENT] = [sent]
        return self._application(environ, started)

    def _write(self, environ: Environ, status: str, size: int, first: float, duration: float) -> None:
        path = environ.get("objstore.raw_path") or quote(environ["PATH_INFO"], encoding="latin-1")
        transaction = environ.get("HTTP_X_TRANS_ID", "")
        method = environ["REQUEST_METHOD"]
        self._log.access(**access_fields(environ, method, path, status, size, first, duration, transaction))
