"""Errors become HTTP at the edge, by one table."""

from __future__ import annotations

from html import escape
from typing import Final

from objstore.errors import StoreError
from objstore.headers import Client, is_internal
from objstore.http.errors import HttpError, http_error_of
from objstore.http.messages import Response
from objstore.http.transport import NodeFailure
from objstore.policies import BadPolicies, UnknownPolicy
from objstore.proxy.core.bodies import BodyBrokenOff
from objstore.proxy.core.put_states import IllegalTransition
from objstore.ring.errors import RingFileError, RingMissing
from objstore.system.concurrency import WaitTimeout
from objstore.system.locks import LockTimeout

# What the API answers with wherever it has nothing of its own to send.
PAGE_TYPE: Final = "text/html; charset=UTF-8"
UNFORESEEN: Final = HttpError(500, "Internal error; the log tells more under the transaction id")

# An HttpError is its own answer. Every other error that can reach the edge stands here. 503 tells a client to try
# again, 500 that it would be in vain.
STATUSES: Final[dict[type[StoreError], int]] = {
    BadPolicies: 500,
    BodyBrokenOff: 503,
    IllegalTransition: 500,
    LockTimeout: 503,
    NodeFailure: 503,
    RingFileError: 500,
    RingMissing: 500,
    UnknownPolicy: 500,
    WaitTimeout: 503,
}


def is_foreseen(error: BaseException) -> bool:
    """Whether it happens in a healthy store; the rest are bugs or mistakes of operators, and are logged."""
    if not isinstance(error, StoreError):
        return False
    return http_error_of(error) is not None or STATUSES.get(type(error), 500) != 500


def answer_to(error: BaseException) -> Response:
    """The response to an error: never with headers of our own servers, nor with a reason from inside."""
    known = http_error_of(error) if isinstance(error, StoreError) else None
    if known is not None:
        refusal = page(known)
        for name in [name for name in refusal.headers if is_internal(name)]:
            del refusal.headers[name]
        return refusal
    if isinstance(error, StoreError) and type(error) in STATUSES:
        return page(HttpError(STATUSES[type(error)]))
    return page(UNFORESEEN)


def page(error: HttpError) -> Response:
    """The answer of a refusal: its reason, and nothing else, in the type that clients of the API know.

    A reason may quote what the client sent, so it is escaped: browsers take the page for HTML.
    """
    text = escape(error.reason, quote=False)
    return Response(error.status, {Client.CONTENT_TYPE: PAGE_TYPE, **error.headers}, text.encode("utf-8", "replace"))
