"""Which error is which status, and what a refusal looks like."""

from __future__ import annotations

from functools import wraps
from html import escape
from typing import Final

import webob

from objstore.cloud.web import Call, Fault, Handler
from objstore.errors import StoreError
from objstore.image.access import ImageNotFound, NotAllowed
from objstore.image.importing import ImportRefused
from objstore.image.inspect.view import UnsafeImage
from objstore.image.measuring import ImageTooLarge, WriteCancelled
from objstore.image.model.attributes import BadValue, LimitExceeded, NotChangeable
from objstore.image.model.patch import NoSuchProperty
from objstore.image.model.statuses import WrongStatus
from objstore.image.remote import RemoteFailed, RemoteRefused
from objstore.image.stores.store import StoreFailed
from objstore.image.transfers import NoSuchStore

STATUSES_OF_ERRORS: Final[dict[type[StoreError], int]] = {
    BadValue: 400,
    RemoteFailed: 400,
    RemoteRefused: 400,
    NoSuchStore: 400,
    NotAllowed: 403,
    NotChangeable: 403,
    ImageNotFound: 404,
    WrongStatus: 409,
    NoSuchProperty: 409,
    ImportRefused: 409,
    WriteCancelled: 410,
    ImageTooLarge: 413,
    LimitExceeded: 413,
    UnsafeImage: 415,
    StoreFailed: 503,
}


def refusing(handler: Handler) -> Handler:
    """The handler, its errors turned into refusals."""

    @wraps(handler)
    def answered(call: Call) -> webob.Response:
        try:
            return handler(call)
        except StoreError as error:
            status = STATUSES_OF_ERRORS.get(type(error))
            if status is None:
                raise
            raise Fault(status, str(error)) from error

    return answered


def render_fault(fault: Fault, _call: Call) -> webob.Response:
    """A page of HTML, which clients of this API take the reason from."""
    response = webob.Response(status=fault.status, content_type="text/html", charset="utf-8")
    title = escape(response.status)
    response.text = (
        f"<html>\n <head>\n  <title>{title}</title>\n </head>\n <body>\n  <h1>{title}</h1>\n"
        f"  {escape(fault.text)}<br /><br />\n </body>\n</html>\n"
    )
    response.headers.update(fault.headers)
    return response
