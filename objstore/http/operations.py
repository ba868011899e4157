"""What operators and other storage servers ask of a service, apart from what clients may ask: also whether it is well.

A service answers these requests where clients ask too, or, if its configuration names a replication address, only
there: an address for a network that clients do not reach. A proxy has clients of any kind: it answers them on such an
address alone.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from objstore.headers import Client
from objstore.http.errors import HttpError
from objstore.http.messages import (
    HEALTHCHECK,
    Environ,
    Request,
    Response,
    StartResponse,
    WsgiApplication,
    WsgiServer,
    error_response,
)
from objstore.logs import Logger
from objstore.metrics import CONTENT_TYPE
from objstore.runtime import Runtime

# Of storage servers among themselves: how they bring their replicas together.
REPLICATION_METHODS: Final = frozenset({"REPLICATE"})

Handler = Callable[[Request], Response]


class WorkerSession(Protocol):
    """What a service keeps as long as one of its workers lives."""

    def begin(self) -> None:
        """The worker has started, and answers no requests yet."""

    def end(self) -> None:
        """The worker answers no requests any more."""


@dataclass(frozen=True)
class ServiceApps:
    """The applications of a service: what clients reach, and what its replication address answers, None without one.

    for_anybody: clients of the first need not prove that they are of the cluster.
    """

    public: WsgiApplication
    replication: WsgiApplication | None = None
    for_anybody: bool = False
    session: WorkerSession | None = None


class Operations(WsgiServer):
    """A service that also answers operators: paths that begin with the name of one of the routes."""

    def __init__(self, application: WsgiApplication | None, routes: Mapping[str, Handler], log: Logger) -> None:
        """A route's name is the first segment of its paths, one that no device has. No application: nothing else."""
        self._application = application
        self._routes = routes
        self._log = log

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        if self._application is not None and _first_segment(environ) not in self._routes:
            return self._application(environ, start_response)
        return super().__call__(environ, start_response)

    def handle(self, request: Request) -> Response:
        """Answer by the route that the path begins with. Raises HttpError."""
        handler = self._routes.get(_first_segment(request.environ))
        if handler is None:
            raise HttpError(404)
        return handler(request)

    def report(self, request: Request, error: Exception) -> None:
        """Log an error that nobody foresaw."""
        self._log.exception("request failed", method=request.method, path=request.path, error=repr(error))


class ReplicationGuard:
    """What clients reach of a server with a replication address: it refuses what only that address answers."""

    __slots__ = ("_application", "_routes")

    def __init__(self, application: WsgiApplication, routes: Iterable[str]) -> None:
        self._application = application
        self._routes = frozenset(routes)

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] in REPLICATION_METHODS or _first_segment(environ) in self._routes:
            return error_response(HttpError(403, "Ask on the replication address"))(environ, start_response)
        return self._application(environ, start_response)


def storage_apps(
    application: WsgiApplication, routes: Mapping[str, Handler], has_replication_address: bool, log: Logger
) -> ServiceApps:
    operated = Operations(application, routes, log)
    if has_replication_address:
        return ServiceApps(ReplicationGuard(application, routes), operated)
    return ServiceApps(operated)


def proxy_apps(application: WsgiApplication, routes: Mapping[str, Handler], log: Logger) -> ServiceApps:
    """A proxy's applications; the second one is for a replication address, if it has one."""
    return ServiceApps(application, Operations(None, routes, log), for_anybody=True)


def _first_segment(environ: Environ) -> str:
    path: str = environ["PATH_INFO"]
    return path[1:].partition("/")[0]


METRICS: Final = "/metrics"


def health(disable_path: str, faults: Iterable[str] = ()) -> Response:
    """OK, unless the operator has put a file in place that takes the server out of service.

    A server with faults that do not keep it from serving is OK too: the lines that follow name them.
    """
    headers = {Client.CONTENT_TYPE: "text/plain"}
    if disable_path and os.path.exists(disable_path):
        return Response(503, headers, b"DISABLED BY FILE")
    return Response(200, headers, "\n".join(["OK", *faults]).encode())


class HealthChecked:
    """A server that answers /healthcheck too, a path no device can have."""

    __slots__ = ("_application", "_disable_path", "_faults")

    def __init__(
        self, application: WsgiApplication, disable_path: str, faults: Callable[[], Iterable[str]] = tuple
    ) -> None:
        self._application = application
        self._disable_path = disable_path
        self._faults = faults

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        if environ["PATH_INFO"] == HEALTHCHECK:
            return health(self._disable_path, self._faults())(environ, start_response)
        return self._application(environ, start_response)


class MetricsPage:
    """/metrics for Prometheus. Any worker answers for all."""

    __slots__ = ("_runtime",)

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        if environ["PATH_INFO"] != METRICS:
            response = Response(404, {Client.CONTENT_TYPE: "text/plain"}, b"Only /metrics is here\n")
        elif environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            response = Response(405, {Client.ALLOW: "GET, HEAD"})
        else:
            response = Response(200, {Client.CONTENT_TYPE: CONTENT_TYPE}, self._runtime.metrics.render())
        return response(environ, start_response)
