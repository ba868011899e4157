"""Requests and answers of the cloud services: which handler answers, who calls, and what a refusal looks like."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, TypeVar, cast
from urllib.parse import quote, unquote
from uuid import uuid4

import msgspec
import webob
from webob.request import DisconnectionError

from objstore.cloud.callers import CloudCaller, IdentityUnavailable
from objstore.errors import StoreError
from objstore.logs import Logger, get_logger
from objstore.metrics import CONTENT_TYPE, Metrics

T = TypeVar("T")

BODY_MAX: Final = 1 << 20  # bytes of a request, unless its route streams
PIECE_BYTES: Final = 64 * 1024
PATH_MAX: Final = 8192  # characters
JSON_TYPES: Final = ("application/json",)
METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
REQUEST_ID_HEADER: Final = "x-openstack-request-id"


@dataclass(eq=False)
class Fault(StoreError):
    """A request that is refused. `text` is for a person; `code` is a name for programs, where an API has such names."""

    message = "{status} {text}"

    status: int
    text: str
    headers: Mapping[str, str] = field(default_factory=dict, kw_only=True)
    code: str | None = field(default=None, kw_only=True)


@dataclass
class Call:
    """A request as its handler sees it: `arguments` are the parts of its path that the route names.

    `id` names the request in answers and in the log.
    """

    request: webob.Request
    id: str
    callers: CallerLookup
    arguments: dict[str, str] = field(default_factory=dict)
    known_caller: CloudCaller | None = None

    @property
    def caller(self) -> CloudCaller:
        """Who calls; on a route that is not public it is known already. Raises Fault 401, IdentityUnavailable."""
        if self.known_caller is None:
            token = self.request.headers.get("X-Auth-Token")
            self.known_caller = self.callers.of(token) if token else None
        if self.known_caller is None:
            raise Fault(401, "The request you have made requires authentication.")
        return self.known_caller

    def body(self, limit: int = BODY_MAX) -> bytes:
        """The whole body. Raises Fault 413 for more than `limit` bytes, and 400 for one that is cut short."""
        if (self.request.content_length or 0) > limit:
            raise Fault(413, f"The body has more than {limit} bytes.")
        content = b""
        for piece in self.pieces():
            content += piece
            if len(content) > limit:
                raise Fault(413, f"The body has more than {limit} bytes.")
        return content

    def pieces(self, size: int = PIECE_BYTES) -> Iterator[bytes]:
        """The body as it arrives. Raises Fault 400 for one that is cut short."""
        if not self.request.is_body_readable:
            return
        source = self.request.body_file_raw if self.request.content_length is None else self.request.body_file
        try:
            while piece := source.read(size):
                yield piece
        except (DisconnectionError, ConnectionError, TimeoutError) as error:
            raise Fault(400, "The body was cut short.") from error

    def json(self, limit: int = BODY_MAX, types: Collection[str] = JSON_TYPES) -> Any:
        """The body read as JSON. Raises Fault 400 for what is none, 413 for too much, 415 for another type."""
        return self.json_as(cast("type[Any]", Any), limit, types)

    def json_as(self, kind: type[T], limit: int = BODY_MAX, types: Collection[str] = JSON_TYPES) -> T:
        """The body read as JSON of this type. Raises Fault as `json`; the 400 says where what is wrong."""
        given = self.request.content_type
        if given and given not in types:
            raise Fault(415, f"The body is of type {given}; what is understood is {', '.join(types)}.")
        try:
            return msgspec.json.decode(self.body(limit), type=kind)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise Fault(400, f"The body is not what was expected: {error}") from error


Handler = Callable[[Call], webob.Response]


@dataclass(frozen=True)
class WebRoute:
    """Which handler answers a method on a path: "/v2/images/{image_id}/file".

    {name} stands for one segment, {name:path} for the rest of the path. Anybody may call a `public` route, with or
    without a token. The body of one that `streams` has no limit.
    """

    method: str
    path: str
    handler: Handler
    public: bool = False
    streams: bool = False


class CallerLookup(Protocol):
    """Says whose a token is. `challenge` is the value of WWW-Authenticate for those who have none."""

    challenge: str

    def of(self, token: str) -> CloudCaller | None:
        """None for a token that does not hold. Raises IdentityUnavailable."""


RenderFault = Callable[[Fault, Call], webob.Response]


def json_answer(status: int, document: object, headers: Mapping[str, str] | None = None) -> webob.Response:
    """A response whose body is this document."""
    response = webob.Response(msgspec.json.encode(document), status=status, content_type="application/json")
    response.headers.update(headers or {})
    return response


def empty_answer(status: int = 204, headers: Mapping[str, str] | None = None) -> webob.Response:
    """A response without a body."""
    response = webob.Response(status=status, content_type=None)
    response.headers.update(headers or {})
    return response


class Routes:
    """Finds the route of a request; where several match, one whose segments are written out wins."""

    def __init__(self, routes: Iterable[WebRoute]) -> None:
        paths: dict[str, dict[str, WebRoute]] = {}
        for route in routes:
            methods = paths.setdefault(route.path, {})
            if route.method in methods:
                raise ValueError(f"{route.method} {route.path} has two routes")
            methods[route.method] = route
        ordered = sorted(paths, key=lambda path: [("{" in part, ":path}" in part) for part in path.split("/")])
        self._paths = [(re.compile(_pattern(path)), paths[path]) for path in ordered]

    def find(self, method: str, path: str) -> tuple[WebRoute, dict[str, str]]:
        """The route, and what the path holds for its names; `path` is still quoted. Raises Fault 404, 405, 400."""
        allowed: set[str] = set()
        for pattern, methods in self._paths:
            if match := pattern.fullmatch(path):
                route = methods.get(method) or (methods.get("GET") if method == "HEAD" else None)
                if route is not None:
                    try:
                        return route, {name: unquote(part, errors="strict") for name, part in match.groupdict().items()}
                    except UnicodeDecodeError:
                        raise Fault(400, "The path is not text in UTF-8.") from None
                allowed |= set(methods)
        if allowed:
            raise Fault(
                405, "The method is not allowed for this resource.", headers={"Allow": ", ".join(sorted(allowed))}
            )
        raise Fault(404, "The resource could not be found.")


def _pattern(path: str) -> str:
    parts = re.split(r"\{(\w+)(:path)?\}", path)
    pattern = re.escape(parts[0])
    for name, rest, literal in zip(parts[1::3], parts[2::3], parts[3::3], strict=True):
        pattern += f"(?P<{name}>{'.+' if rest else '[^/]+'}){re.escape(literal)}"
    return pattern


class WebApplication:
    """A service as WSGI sees it. `service` is its type in the catalog, "image" for instance.

    It also answers /healthcheck and /metrics. An unexpected exception becomes a 500 that names the request; the
    traceback goes to the log alone.
    """

    def __init__(
        self,
        service: str,
        routes: Sequence[WebRoute],
        callers: CallerLookup,
        render_fault: RenderFault,
        metrics: Metrics | None = None,
    ) -> None:
        self._service = service
        self._metrics = Metrics() if metrics is None else metrics
        own = [
            WebRoute("GET", "/healthcheck", _healthy, public=True),
            WebRoute("GET", "/metrics", self._exposed, public=True),
        ]
        self._routes = Routes([*routes, *own])
        self._callers = callers
        self._render = render_fault
        self._log: Logger = get_logger(service)
        self._counting = threading.Lock()  # metrics are not for threads
        self._requests = self._metrics.counter("cloud_requests", "Requests answered", ("service", "method", "status"))
        self._durations = self._metrics.histogram(
            "cloud_request_duration_seconds", "From a request's arrival to the end of its answer", ("service", "method")
        )

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        began = time.monotonic()
        call = Call(webob.Request(environ), f"req-{uuid4()}", self._callers)
        try:
            response = self._answer(call)
        except Fault as fault:
            response = self._render(fault, call)
        except IdentityUnavailable as error:
            response = self._render(Fault(503, f"{error}.", headers={"Retry-After": "1"}), call)
        except Exception:
            self._log.exception("a request failed unexpectedly", request=call.id, path=environ.get("PATH_INFO"))
            response = self._render(Fault(500, f"The service failed; its log says more at {call.id}."), call)
        response.headers[REQUEST_ID_HEADER] = call.id
        if response.status_int == 401:
            response.headers["WWW-Authenticate"] = self._callers.challenge
        return _Counted(response(environ, start_response), lambda size: self._done(call, response, began, size))

    def _answer(self, call: Call) -> webob.Response:
        request = call.request
        path = _quoted_path(request.environ)
        if len(path) > PATH_MAX:
            raise Fault(414, "The path is too long.")
        if request.method not in METHODS:
            raise Fault(501, "The method is not known.")
        try:
            _ = request.GET
        except UnicodeDecodeError:
            raise Fault(400, "The query is not text in UTF-8.") from None
        route, call.arguments = self._routes.find(request.method, path)
        if not route.streams and (request.content_length or 0) > BODY_MAX:
            raise Fault(413, f"The body has more than {BODY_MAX} bytes.")
        if not route.public and not call.caller.may(self._service, request.method, path):
            raise Fault(401, "The access rules of the application credential do not allow this.")
        return route.handler(call)

    def _done(self, call: Call, response: webob.Response, began: float, size: int) -> None:
        request = call.request
        duration = time.monotonic() - began
        method = request.method if request.method in METHODS else "OTHER"
        with self._counting:
            self._requests.add(self._service, method, str(response.status_int))
            self._durations.observe(duration, self._service, method)
        caller = call.known_caller
        fields = {} if caller is None else {"user": caller.user_id, "project": caller.project_id}
        self._log.access(
            client=request.environ.get("REMOTE_ADDR"),
            method=method,
            path=_quoted_path(request.environ)[:PATH_MAX],
            query=request.query_string or None,
            status=response.status_int,
            bytes=size,
            duration=duration,
            request=call.id,
            **fields,
        )

    def _exposed(self, _call: Call) -> webob.Response:
        with self._counting:
            content = self._metrics.render()
        return webob.Response(content, headerlist=[("Content-Type", CONTENT_TYPE)])


class _Counted:
    """The pieces of an answer; says how many bytes went out when it is closed."""

    def __init__(self, pieces: Iterable[bytes], done: Callable[[int], None]) -> None:
        self._pieces, self._done, self._size = pieces, done, 0

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._pieces:
            self._size += len(piece)
            yield piece

    def close(self) -> None:
        if hasattr(self._pieces, "close"):
            self._pieces.close()
        self._done(self._size)


def _healthy(_call: Call) -> webob.Response:
    return webob.Response(b"OK\n", content_type="text/plain")


def _quoted_path(environ: Mapping[str, Any]) -> str:
    """The path as the client sent it, without a slash at its end: a quoted slash must not become one that divides."""
    target: str | None = environ.get("REQUEST_URI")
    path = quote(environ.get("PATH_INFO", ""), encoding="latin-1") if target is None else target.partition("?")[0]
    return path[:-1] if len(path) > 1 and path.endswith("/") else path or "/"
