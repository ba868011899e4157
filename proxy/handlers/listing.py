"""Listings of accounts and containers: their parameters, and the format the client wants."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlencode

from msgspec import Struct

from objstore.headers import Client
from objstore.http.errors import HttpError
from objstore.http.local import WholeBody
from objstore.http.messages import Response
from objstore.http.transport import BackendResponse
from objstore.limits import listing_limit
from objstore.proxy.request import Request

PASSED_ON: Final[tuple[str, ...]] = ("limit", "marker", "end_marker", "prefix", "delimiter", "path", "reverse")
CONTENT_TYPES: Final = {"plain": "text/plain", "json": "application/json", "xml": "application/xml"}
OFFERED: Final = {"text/plain": "plain", "application/json": "json", "application/xml": "xml", "text/xml": "xml"}


class ListingRequest(Struct, frozen=True):
    """A listing as its server is asked for it, and how it is announced to the client."""

    query: str
    format: str
    content_type: str
    negotiated: bool

    def answer(self, found: BackendResponse, headers: dict[str, str]) -> Response:
        """The response; the body goes through as its server made it."""
        if self.negotiated:
            headers[Client.VARY] = Client.ACCEPT
        headers[Client.CONTENT_TYPE] = f"{self.content_type}; charset=utf-8"
        body = found.body
        if isinstance(body, WholeBody):
            content = body.read()
            if not content:
                headers.pop(Client.CONTENT_LENGTH, None)
                return Response(204, headers)
            return Response(found.status, headers, content)
        return Response(found.status, headers, body)


def listing_request(request: Request, limit_max: int) -> ListingRequest:
    """Raises HttpError 400, 406, 412."""
    params = request.params
    listing_limit(params.get("limit"), limit_max)
    wanted = params.get("format", "").lower()
    content_type = CONTENT_TYPES.get(wanted)
    negotiated = "format" not in params
    if content_type is None:
        content_type = _acceptable(request) if negotiated else CONTENT_TYPES["plain"]
    form = OFFERED[content_type]
    query = {name: params[name] for name in PASSED_ON if name in params}
    query["format"] = form
    return ListingRequest(urlencode(query), form, content_type, negotiated)


def _acceptable(request: Request) -> str:
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
