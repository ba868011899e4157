"""Cross-origin resource sharing: what scripts of other sites may do, as containers and the operator say.

See the Fetch standard, section "HTTP CORS protocol".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from objstore.headers import Client
from objstore.http.messages import HEALTHCHECK, Response, variable_of
from objstore.proxy.core.info import ABSENT, ContainerInfo
from objstore.proxy.swift.features.base import Feature
from objstore.proxy.swift.methods import methods_of
from objstore.proxy.swift.request import SwiftRequest

if TYPE_CHECKING:
    from objstore.proxy.core.context import ProxyContext

ANY: Final = "*"
ALWAYS_EXPOSED: Final = (
    "cache-control", "content-language", "content-type", "expires", "last-modified", "pragma",
    "etag", "x-timestamp", "x-trans-id", "x-openstack-request-id",
)  # fmt: skip
METADATA_PREFIXES: Final = (Client.ACCOUNT_META_PREFIX, Client.CONTAINER_META_PREFIX, Client.OBJECT_META_PREFIX)
NO_CONTAINER: Final = ContainerInfo(ABSENT)
ORIGIN: Final = variable_of(Client.ORIGIN)
UNMARKED: Final = frozenset({HEALTHCHECK, "/info"})
# In the metadata of containers.
ALLOW_KEY, MAX_AGE_KEY, EXPOSE_KEY = (
    name.removeprefix(Client.CONTAINER_META_PREFIX)
    for name in (Client.CONTAINER_ALLOW_ORIGIN, Client.CONTAINER_CORS_MAX_AGE, Client.CONTAINER_EXPOSE_HEADERS)
)


class Cors(Feature):
    """Answers preflights, and marks the answers to requests from other origins."""

    methods = frozenset({"OPTIONS"})

    def __init__(self, context: ProxyContext) -> None:
        config = context.config.cors
        self._accounts = context.config.accounts
        self._everywhere = frozenset(config.allow_origin)
        self._expose = tuple(name.lower() for name in config.expose_headers)
        self._strict = config.strict
        self._lookup = context.lookup

    def __call__(self, request: SwiftRequest) -> Response:
        origin = request.environ.get(ORIGIN)
        container = self._container(request)
        methods = methods_of(request.resource, self._accounts)
        allow = ", ".join(methods)
        headers = {Client.ALLOW: allow}
        if not origin:
            return Response(200, headers)
        allowed = self._allowed_origins(container)
        method = request.header(Client.ACCESS_CONTROL_REQUEST_METHOD)
        if not (origin in allowed or ANY in allowed) or method not in methods:
            if allowed and ANY not in allowed:
                headers[Client.VARY] = Client.ORIGIN
            return Response(401, headers)
        headers[Client.ACCESS_CONTROL_ALLOW_METHODS] = allow
        headers |= _origin_headers(origin, allowed)
        if MAX_AGE_KEY in container.metadata:
            headers[Client.ACCESS_CONTROL_MAX_AGE] = container.metadata[MAX_AGE_KEY]
        asked = _split(request.header(Client.ACCESS_CONTROL_REQUEST_HEADERS))
        if asked:
            headers[Client.ACCESS_CONTROL_ALLOW_HEADERS] = ", ".join(asked)
            headers[Client.VARY] = _joined(headers.get(Client.VARY), Client.ACCESS_CONTROL_REQUEST_HEADERS)
        return Response(200, headers)

    def marks(self, request: SwiftRequest) -> bool:
        """Whether the answer is to be marked: not that to a preflight, nor those that need no origin's leave."""
        return bool(request.environ[ORIGIN]) and request.method != "OPTIONS" and request.path not in UNMARKED

    def mark(self, request: SwiftRequest, response: Response) -> None:
        """Say what the script may read; without that the browser keeps all of it from the script."""
        headers, origin = response.headers, request.environ[ORIGIN]
        if Client.ACCESS_CONTROL_ALLOW_ORIGIN in headers:
            return
        container = self._container(request)
        allowed = self._allowed_origins(container)
        if self._strict and origin not in allowed and ANY not in allowed:
            if allowed:
                # A cache must not give this answer to a script of an origin that is allowed.
                headers[Client.VARY] = _joined(headers.get(Client.VARY), Client.ORIGIN)
            return
        exposed = [*ALWAYS_EXPOSED, *self._expose]
        exposed += [name.lower() for name in headers if not self._strict or name.startswith(METADATA_PREFIXES)]
        exposed += [name.lower() for name in _split(container.metadata.get(EXPOSE_KEY))]
        headers[Client.ACCESS_CONTROL_EXPOSE_HEADERS] = ", ".join(dict.fromkeys(exposed))
        marks = _origin_headers(origin, allowed)
        if Client.VARY in marks:
            marks[Client.VARY] = _joined(headers.get(Client.VARY), marks[Client.VARY])
        headers.update(marks)

    def _container(self, request: SwiftRequest) -> ContainerInfo:
        resource = request.resource
        if resource is None or not resource.container:
            return NO_CONTAINER
        return self._lookup.container(resource.container_path, request.transaction_id)

    def _allowed_origins(self, container: ContainerInfo) -> frozenset[str]:
        own = _split(container.metadata.get(ALLOW_KEY))
        return self._everywhere.union(own) if own else self._everywhere


def _origin_headers(origin: str, allowed: frozenset[str]) -> dict[str, str]:
    if ANY in allowed:
        return {Client.ACCESS_CONTROL_ALLOW_ORIGIN: ANY}
    return {Client.ACCESS_CONTROL_ALLOW_ORIGIN: origin, Client.VARY: Client.ORIGIN}


def _split(text: str | None) -> list[str]:
    """The parts of a list, between blanks or commas: owners write both, and no origin or header name holds either."""
    return (text or "").replace(",", " ").split()


def _joined(vary: str | None, name: str) -> str:
    return f"{vary}, {name}" if vary else name
