"""What operators' programs ask a server besides its proper work: whether it is well, and its metrics."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Final

from objstore.headers import Client
from objstore.http.messages import Environ, Response, StartResponse, WsgiApplication
from objstore.metrics import CONTENT_TYPE
from objstore.runtime import Runtime

HEALTHCHECK: Final = "/healthcheck"
METRICS: Final = "/metrics"


def health(disable_path: str) -> Response:
    """OK, unless the operator has put a file in place that takes the server out of service."""
    headers = {Client.CONTENT_TYPE: "text/plain"}
    if disable_path and os.path.exists(disable_path):
        return Response(503, headers, b"DISABLED BY FILE")
    return Response(200, headers, b"OK")


class HealthChecked:
    """A server that answers /healthcheck too, a path no device can have."""

    __slots__ = ("_application", "_disable_path")

    def __init__(self, application: WsgiApplication, disable_path: str) -> None:
        self._application = application
        self._disable_path = disable_path

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """One request."""
        if environ["PATH_INFO"] == HEALTHCHECK:
            return health(self._disable_path)(environ, start_response)
        return self._application(environ, start_response)


class MetricsPage:
    """/metrics for Prometheus. Any worker answers for all."""

    __slots__ = ("_runtime",)

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """One request."""
        if environ["PATH_INFO"] != METRICS:
            response = Response(404, {Client.CONTENT_TYPE: "text/plain"}, b"Only /metrics is here\n")
        elif environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            response = Response(405, {Client.ALLOW: "GET, HEAD"})
        else:
            response = Response(200, {Client.CONTENT_TYPE: CONTENT_TYPE}, self._runtime.metrics.render())
        return response(environ, start_response)
