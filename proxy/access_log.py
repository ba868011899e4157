"""The access log of the proxy: one line for each request, and metrics of all of them, alike for every API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol
from urllib.parse import quote

from objstore.http.access import CLIENT_LEFT, SENT, RequestMetrics, access_fields
from objstore.http.messages import Environ, Response
from objstore.proxy.auth.identity import Identity

if TYPE_CHECKING:
    from objstore.proxy.core.context import ProxyContext


class LoggedRequest(Protocol):
    """What the log says of a request. log_info: marks for its line."""

    environ: Environ
    path: str
    identity: Identity | None
    transaction_id: str
    log_info: list[str]

    @property
    def kind(self) -> str:
        """The kind of what the path names: "account", "container", "object" or "other"."""


class AccessLog:
    """One line in the log for each request, and metrics of all of them."""

    __slots__ = ("_log", "_metrics", "_reveal", "_writes", "monotonic")

    def __init__(self, context: ProxyContext) -> None:
        runtime = context.runtime
        self._log = runtime.log
        self._writes = runtime.log.writes_access
        self.monotonic = runtime.clock.monotonic
        self._reveal = context.config.log.reveal_sensitive_prefix
        self._metrics = RequestMetrics(runtime.metrics, "proxy", ("kind",)) if context.config.metrics.wanted else None

    def expect(self, request: LoggedRequest, response: Response, method: str, path: str | None, begun: float) -> None:
        """Log the request once its response has been sent, or could not be."""
        answered = self.monotonic()

        def sent(size: int, complete: bool) -> None:
            status = str(response.status) if complete else CLIENT_LEFT
            duration = self.monotonic() - begun
            if self._metrics is not None:
                self._metrics.count(request.environ, method, status, duration, size, request.kind)
            if self._writes:
                self._write(request, method, path, status, size, answered - begun, duration)

        request.environ.setdefault(SENT, []).append(sent)

    def _write(
        self,
        request: LoggedRequest,
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


def masked(secret: str, revealed: int) -> str:
    """The beginning of a secret, enough to find the requests of one token."""
    return secret[:revealed] + "..."
