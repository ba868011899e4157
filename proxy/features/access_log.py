"""One line in the log for each request, and figures of all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from objstore.http.messages import Response
from objstore.proxy.features.base import Feature, Handler
from objstore.proxy.request import Request

if TYPE_CHECKING:
    from objstore.proxy.context import ProxyContext

# The server calls what it finds here when the response has left, or could not.
SENT: Final = "objstore.sent"
CLIENT_LEFT: Final = 499
# Clients choose methods; each label value is a series for ever.
METHODS: Final = frozenset({"GET", "HEAD", "PUT", "POST", "DELETE", "COPY", "OPTIONS"})

OPTIONAL_FIELDS: Final = (("query", "QUERY_STRING"), ("received", "CONTENT_LENGTH"), ("agent", "HTTP_USER_AGENT"))


def kind_of(request: Request) -> str:
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

    __slots__ = ("_durations", "_first_bytes", "_log", "_monotonic", "_received", "_requests", "_reveal", "_sent")

    def __init__(self, next_handler: Handler, context: ProxyContext) -> None:
        super().__init__(next_handler, context)
        runtime = context.runtime
        self._log = runtime.log
        self._monotonic = runtime.clock.monotonic
        self._reveal = context.config.log.reveal_sensitive_prefix
        metrics = runtime.metrics
        self._requests = metrics.counter("proxy_requests", "Requests answered", ("kind", "method", "status"))
        self._durations = metrics.histogram(
            "proxy_request_seconds", "From a request's head to the last byte of its response", ("kind", "method")
        )
        self._sent = metrics.counter("proxy_sent_bytes", "Bytes of bodies sent to clients", ("kind",))
        self._received = metrics.counter("proxy_received_bytes", "Bytes of bodies announced by clients", ("kind",))

    def __call__(self, request: Request) -> Response:
        """See Feature."""
        begun = self._monotonic()
        # What features do to the request must not be what the log says of it.
        method = request.method
        path = request.environ.get("objstore.raw_path")
        response = self._next(request)
        answered = self._monotonic()

        def sent(size: int, complete: bool) -> None:
            status = response.status if complete else CLIENT_LEFT
            duration = self._monotonic() - begun
            self._count(request, method, status, duration, size)
            self._write(request, method, path, status, size, answered - begun, duration)

        request.environ.setdefault(SENT, []).append(sent)
        return response

    def _count(self, request: Request, method: str, status: int, duration: float, size: int) -> None:
        kind = kind_of(request)
        method = method if method in METHODS else "other"
        self._requests.add(kind, method, str(status))
        self._durations.observe(duration, kind, method)
        if size:
            self._sent.add(kind, amount=size)
        received = request.environ.get("CONTENT_LENGTH")
        if received and received != "0" and received.isdecimal():
            self._received.add(kind, amount=int(received))

    def _write(
        self, request: Request, method: str, path: str | None, status: int, size: int, first: float, duration: float
    ) -> None:
        environ = request.environ
        fields: dict[str, object] = {
            "client": environ.get("REMOTE_ADDR", ""),
            "method": method,
            "path": quote(request.path, encoding="latin-1") if path is None else path,
            "status": status,
            "sent": size,
            "ttfb": first,
            "duration": duration,
            "trans_id": request.transaction_id,
        }
        # What a request does not have takes no room in its line.
        if request.identity is not None:
            fields["user"] = request.identity.user
        for name, variable in OPTIONAL_FIELDS:
            value = environ.get(variable)
            if value:
                fields[name] = value
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
