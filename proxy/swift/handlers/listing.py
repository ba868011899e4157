"""Listings of accounts and containers: their parameters, and the format the client wants."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlencode

from msgspec import Struct

from objstore.headers import Client
from objstore.http.errors import HttpError
from objstore.http.local import WholeBody
from objstore.http.messages import Body, Response
from objstore.http.transport import BackendResponse
from objstore.limits import listing_limit
from objstore.proxy.swift.request import SwiftRequest

PASSED_ON: Final[tuple[str, ...]] = ("limit", "marker", "end_marker", "prefix", "delimiter", "path", "reverse")
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


class ListingRequest(Struct, frozen=True):
    """A listing as its server is asked for it, and how the client wants it."""

    query: str
    format: ListingFormat

    def answer(self, found: BackendResponse, headers: dict[str, str]) -> Response:
        """The response; the body goes through as its server made it."""
        body = found.body
        return self.format.answer(headers, body.read() if isinstance(body, WholeBody) else body)


def listing_request(request: SwiftRequest, limit_max: int) -> ListingRequest:
    """Raises HttpError 400, 406, 412."""
    params = request.params
    listing_limit(params.get("limit"), limit_max)
    wanted = listing_format(request)
    query = {name: params[name] for name in PASSED_ON if name in params}
    query["format"] = wanted.name
    return ListingRequest(urlencode(query), wanted)


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
