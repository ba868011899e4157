"""What the handlers of all kinds of resources have in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from objstore.headers import OWNER_ONLY, Client
from objstore.http.errors import HttpError
from objstore.http.messages import Response, title_of
from objstore.http.transport import BackendResponse
from objstore.limits import Limits, is_utf8
from objstore.paths import ResourcePath
from objstore.proxy.core.context import ProxyContext
from objstore.proxy.core.nodes import Placement
from objstore.proxy.core.quorum_request import Writer
from objstore.proxy.core.reading import Reader
from objstore.proxy.swift import errors
from objstore.proxy.swift.request import SwiftRequest
from objstore.ring.ring import Ring
from objstore.timestamps import Timestamp

# Headers of one connection, which say nothing about the next one (RFC 9110, section 7.6.1).
OF_THE_CONNECTION: Final = ("Connection", "Keep-Alive", "Transfer-Encoding")


class HandlerContext:
    """What handlers work with; one for each process."""

    __slots__ = ("context", "reader", "writer")

    def __init__(self, context: ProxyContext) -> None:
        backend = context.config.backend
        self.context = context
        self.reader = Reader(context.transport, context.nodes, backend.node_timeout)
        self.writer = Writer(context.transport, context.nodes, backend.node_timeout, backend.post_quorum_timeout)

    def place(self, ring: Ring, path: ResourcePath) -> Placement:
        """Where a resource lives."""
        return Placement.of(path, ring, self.context.cluster.hasher)

    def account_place(self, account: str) -> Placement:
        """Where an account lives."""
        return self.place(self.context.rings.account, ResourcePath(account))

    def container_place(self, path: ResourcePath) -> Placement:
        """Where a container lives."""
        return self.place(self.context.rings.container, path)

    def timestamp(self, request: SwiftRequest) -> Timestamp:
        """When the write happened: now, unless a part of the store itself says. Raises HttpError 400."""
        given = request.environ.get("HTTP_X_TIMESTAMP")
        if given is None:
            return self.context.runtime.clock.timestamp()
        try:
            return Timestamp.parse(given)
        except ValueError:
            raise HttpError(400, f"Bad {Client.TIMESTAMP}: {given}") from None


def authorize(request: SwiftRequest) -> None:
    """Whether the request may do what it wants, by its `acl`. Raises HttpError 401, 403."""
    if request.authorize is not None:
        request.authorize(request)
    else:
        request.owner = True


def backend_headers(request: SwiftRequest) -> dict[str, str]:
    """What every request to a storage server carries."""
    return {Client.TRANS_ID: request.transaction_id}


def metadata_changes(request: SwiftRequest, kind: str, allowed: frozenset[str]) -> dict[str, str]:
    """What a PUT or POST sets or, with an empty value, removes; `kind` is "Container" or "Account".

    These are user and system metadata, and the headers in `allowed`. All of them are shown to clients or parsed later,
    so all have to be UTF-8. Raises HttpError 400.
    """
    prefixes = (f"HTTP_X_{kind.upper()}_", f"HTTP_X_REMOVE_{kind.upper()}_")
    kept = (f"X-{kind}-Meta-", f"X-{kind}-Sysmeta-")
    found: dict[str, str] = {}
    for variable, value in request.environ.items():
        if variable.startswith(prefixes):
            name = title_of(variable)
            removed = name.startswith("X-Remove-")
            if removed:
                name = "X-" + name[9:]
            if name.startswith(kept) or name in allowed:
                if not (is_utf8(name) and is_utf8(value)):
                    raise HttpError(400, f"{name} must be valid UTF-8")
                # To set and to remove at once means to set.
                found[name] = value if not removed else found.get(name, "")
    return found


def client_headers(response: BackendResponse, request: SwiftRequest) -> dict[str, str]:
    """The headers of an answer as its client may see them."""
    headers = response.headers
    for name in OF_THE_CONNECTION:
        headers.pop(name, None)
    if not request.owner:
        for name in OWNER_ONLY & headers.keys():
            del headers[name]
    return headers


def error_response(status: int, headers: Mapping[str, str] | None = None, reason: str = "") -> Response:
    """The answer of a status that has no body of its own; without a reason the page says the status's phrase."""
    return errors.page(HttpError(status, reason, headers=dict(headers) if headers else {}))


def metadata_refused(limits: Limits) -> str:
    """Why a server refuses metadata that is in order by itself: together with what is there it becomes too much."""
    return (
        f"Too much metadata, together with what is there: at most {limits.max_meta_count} items"
        f" and {limits.max_meta_overall_size} bytes"
    )
