"""What handlers have in common: changes of metadata, listings, work on many objects."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, TypeVar

from msgspec import Struct

from objstore.conditions import WriteConditions
from objstore.headers import OWNER_ONLY, Client
from objstore.http.conditional import OWN_ETAG, parse_write_conditions
from objstore.http.errors import HttpError
from objstore.http.messages import Body, Response, title_of
from objstore.limits import is_utf8, listing_limit
from objstore.proxy.core.dynamic_manifest import parse_prefix
from objstore.proxy.core.listing import ListingQuery
from objstore.proxy.swift.request import SwiftRequest
from objstore.system.clock import Clock

T = TypeVar("T")

CONTENT_TYPES: Final = {"plain": "text/plain", "json": "application/json", "xml": "application/xml"}
OFFERED: Final = {"text/plain": "plain", "application/json": "json", "application/xml": "xml", "text/xml": "xml"}


class ListingFormat(Struct, frozen=True):
    """The format a client wants; `negotiated` by its Accept header, not named in the query."""

    name: str
    content_type: str
    negotiated: bool

    def answer(self, headers: dict[str, str], content: bytes | Body = b"") -> Response:
        """The response: 204 without content, as to HEAD."""
        if self.negotiated:
            headers[Client.VARY] = Client.ACCEPT
        headers[Client.CONTENT_TYPE] = f"{self.content_type}; charset=utf-8"
        if content:
            return Response(200, headers, content)
        # HTTP has no need of it beside 204, but the API promises it: clients wait for a body, or fail, without.
        headers[Client.CONTENT_LENGTH] = "0"
        return Response(204, headers)


def listing_query(request: SwiftRequest, limit_max: int) -> ListingQuery:
    """Raises HttpError 400, 412."""
    params = request.params
    listing_limit(params.get("limit"), limit_max)
    return ListingQuery(**{name: params.get(name) for name in ListingQuery.__struct_fields__})


def listing_format(request: SwiftRequest) -> ListingFormat:
    """Raises HttpError 400, 406."""
    params = request.params
    content_type = CONTENT_TYPES.get(params.get("format", "").lower())
    negotiated = "format" not in params
    if content_type is None:
        content_type = _acceptable(request) if negotiated else CONTENT_TYPES["plain"]
    return ListingFormat(OFFERED[content_type], content_type, negotiated)


def _acceptable(request: SwiftRequest) -> str:
    accept = request.environ.get("HTTP_ACCEPT")
    if not accept or accept == "*/*":
        return CONTENT_TYPES["plain"]
    if len(accept) > 1000:
        raise HttpError(400, "Accept is too long")
    offers = request.accept.acceptable_offers(list(OFFERED))
    if not offers:
        raise HttpError(406)
    best: str = offers[0][0]
    return best


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


def check_dynamic_manifest(request: SwiftRequest, value: str) -> None:
    """Whether an X-Object-Manifest says where segments are. Raises HttpError 400."""
    if request.params.get("multipart-manifest") == "put":
        raise HttpError(400, f"A static large object has no {Client.OBJECT_MANIFEST}")
    try:
        parse_prefix(value)
    except ValueError:
        raise HttpError(400, f"{Client.OBJECT_MANIFEST} must be in the format container/prefix") from None


def write_fields(request: SwiftRequest, clock: Clock) -> dict[str, Any]:
    """What every command says that writes."""
    return {
        "path": request.storage_resource,
        "timestamp": request.timestamp(clock),
        "transaction_id": request.transaction_id,
    }


def write_conditions_of(request: SwiftRequest) -> WriteConditions | None:
    """What the headers of a write say about the state of its object; None for nothing. Raises HttpError 400."""
    try:
        conditions = parse_write_conditions(request.header)
    except ValueError as error:
        raise HttpError(400, str(error)) from None
    if not all(map(OWN_ETAG.fullmatch, conditions.if_none_match)):
        raise HttpError(400, f"{Client.IF_NONE_MATCH} would never refuse: no object has such an ETag")
    return None if conditions == WriteConditions() else conditions


def metadata_headers(prefix: str, metadata: Mapping[str, str], owner: bool) -> dict[str, str]:
    """User metadata as clients see it; some of it only owners do."""
    headers = {prefix + name: value for name, value in metadata.items()}
    if not owner:
        for name in OWNER_ONLY & headers.keys():
            del headers[name]
    return headers
