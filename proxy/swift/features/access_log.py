"""One line in the log for each request, and figures of all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

from objstore.config.proxy import ProxyConfig
from objstore.http.access import CLIENT_LEFT, SENT, RequestFigures, access_fields
from objstore.http.messages import Response
from objstore.proxy.swift.features.base import Feature, Handler
from objstore.proxy.swift.request import SwiftRequest

if TYPE_CHECKING:
    from objstore.proxy.core.context import ProxyContext


def kind_of(request: SwiftRequest) -> str:
    """What the request was about, for figures."""
    resource = request.known_resource
    if resource is None:
        return "other"
    if resource.object:
        return "object"
    return "container" if resource.container else "account"


def masked(secret: str, revealed: int) -> str:
    """The beginning of a secret, enough to find the requests of one token."""
    return secret[:revealed] + "..."


class AccessLog(Feature):
    """Outermost: it sees what clients see, and how long they wait for it."""

    __slots__ = ("_figures", "_log", "_monotonic", "_reveal", "_writes")

    def __init__(self, next_handler: Handler, context: ProxyContext) -> None:
        super().__init__(next_handler, context)
        runtime = context.runtime
        self._log = runtime.log
        self._writes = runtime.log.writes_access
        self._monotonic = runtime.clock.monotonic
        self._reveal = context.config.log.reveal_sensitive_prefix
        self._figures = RequestFigures(runtime.metrics, "proxy", ("kind",)) if context.config.metrics.wanted else None

    @classmethod
    def wanted(cls, config: ProxyConfig) -> bool:
        """See Feature."""
        return config.metrics.wanted or config.log.has_access_lines

    def __call__(self, request: SwiftRequest) -> Response:
        """See Feature."""
        begun = self._monotonic()
        # What features do to the request must not be what the log says of it.
        method = request.method
        path = request.environ.get("objstore.raw_path")
        response = self._next(request)
        answered = self._monotonic()

        def sent(size: int, complete: bool) -> None:
            status = str(response.status) if complete else CLIENT_LEFT
            duration = self._monotonic() - begun
            if self._figures is not None:
                self._figures.count(request.environ, method, status, duration, size, kind_of(request))
            if self._writes:
                self._write(request, method, path, status, size, answered - begun, duration)

        request.environ.setdefault(SENT, []).append(sent)
        return response

    def _write(
        self,
        request: SwiftRequest,
        method: str,
        path: str | None,
        status: str,
        size: int,
        first: float,
        duration: float,
    ) -> None:
        environ = request.environ
        if path is None:
            path = quote(request.path, encoding="latin-1")
        fields = access_fields(environ, method, path, status, size, first, duration, request.transaction_id)
        if request.identity is not None:
            fields["user"] = request.identity.user
        token = environ.get("HTTP_X_AUTH_TOKEN") or environ.get("HTTP_X_STORAGE_TOKEN")
        if token:
            fields["auth"] = masked(token, self._reveal)
        referer = environ.get("HTTP_REFERER")
        if referer:
            # Its query may hold the signature of a temporary URL.
            fields["referer"] = referer.partition("?")[0]
        if request.log_info:
            fields["marks"] = ",".join(request.log_info)
        self._log.access(**fields)
