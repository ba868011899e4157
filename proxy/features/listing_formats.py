"""Listings as text, JSON or XML, whichever the client asks for."""

from __future__ import annotations

from typing import Final

from objstore.headers import Client
from objstore.http.errors import HttpError
from objstore.http.messages import Response
from objstore.proxy.features.base import Feature
from objstore.proxy.request import Request

PLAIN: Final = "plain"
FORMATS: Final = {PLAIN: "text/plain", "json": "application/json", "xml": "application/xml"}
# What the Accept header may choose, the preferred ones first, and which format that is.
OFFERS: Final = {"text/plain": PLAIN, "application/json": "json", "application/xml": "xml", "text/xml": "xml"}
# Headers beyond this are not parsed: no client needs so much to choose one of four.
ACCEPT_LENGTH_MAX: Final = 1024


class ListingFormats(Feature):
    """Tells the storage servers the format by the query's `format`, and clients by Content-Type."""

    __slots__ = ()

    def __call__(self, request: Request) -> Response:
        """See Feature."""
        resource = request.resource
        if resource is None or resource.object or request.method not in ("GET", "HEAD"):
            return self._next(request)
        asked = request.params.get("format", "").lower()
        content_type = FORMATS.get(asked, FORMATS[PLAIN]) if asked else negotiate(request)
        request.params = request.params | {"format": OFFERS[content_type]}
        response = self._next(request)
        if response.status // 100 == 2:
            response.headers[Client.CONTENT_TYPE] = f"{content_type}; charset=utf-8"
            if response.status == 200 and _is_empty(response) and request.method == "GET":
                response.status = 204
        if not asked:
            response.headers[Client.VARY] = _with_accept(response.headers.get(Client.VARY))
        return response


def negotiate(request: Request) -> str:
    """The content type that suits the client best (RFC 9110, section 12.5.1). Raises HttpError 406, 400."""
    accept = request.environ.get("HTTP_ACCEPT")
    if not accept or accept == "*/*":
        return FORMATS[PLAIN]
    if len(accept) > ACCEPT_LENGTH_MAX:
        raise HttpError(400, "Accept header too long")
    suiting = request.accept.acceptable_offers(list(OFFERS))
    if not suiting:
        raise HttpError(406, "Listings come as " + ", ".join(OFFERS))
    best: str = suiting[0][0]
    return best


def _is_empty(response: Response) -> bool:
    body = response.body
    return not body if isinstance(body, bytes) else body.length == 0


def _with_accept(vary: str | None) -> str:
    return f"{vary}, Accept" if vary else "Accept"
