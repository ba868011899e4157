"""Errors become HTTP at the edge, by one table."""

from __future__ import annotations

from typing import Final

from objstore.errors import StoreError
from objstore.headers import is_internal
from objstore.http.errors import HttpError
from objstore.http.messages import Response, error_response
from objstore.http.transport import NodeFailure
from objstore.policies import BadPolicies, UnknownPolicy
from objstore.proxy.get.bodies import BodyBrokenOff
from objstore.proxy.put.states import IllegalTransition
from objstore.ring.errors import RingFileError, RingMissing
from objstore.system.concurrency import WaitTimeout
from objstore.system.locks import LockTimeout

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
    return isinstance(error, HttpError) or (isinstance(error, StoreError) and STATUSES.get(type(error), 500) != 500)


def answer_to(error: BaseException) -> Response:
    """The response to an error: never with headers of our own servers, nor with a reason from inside."""
    if isinstance(error, HttpError):
        refusal = error_response(error)
        for name in [name for name in refusal.headers if is_internal(name)]:
            del refusal.headers[name]
        return refusal
    if isinstance(error, StoreError) and type(error) in STATUSES:
        return error_response(HttpError(STATUSES[type(error)]))
    return error_response(UNFORESEEN)
