"""Errors of the client: responses that refuse a request, and responses that never came."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from objstore.errors import StoreError


@dataclass(eq=False)
class ClientError(StoreError):
    """The base of all errors of the client. `brief` leaves out the server and target, for callers that name them."""

    @property
    def brief(self) -> str:
        return str(self)


@dataclass(eq=False)
class ServerUnreachable(ClientError):
    """No response came: no connection, a broken one, or silence for longer than the timeout."""

    message = "{server}: {reason}"

    server: str
    reason: str

    @property
    def brief(self) -> str:
        return self.reason


@dataclass(eq=False)
class BodyCutShort(ServerUnreachable):
    """A response ended before its body did."""


@dataclass(eq=False)
class BadResponse(ClientError):
    """A response that no store gives, such as a login without a token."""

    message = "{server}: {reason}"

    server: str
    reason: str


@dataclass(eq=False)
class RequestFailed(ClientError):
    """A response whose status is none of those that mean success; the subclass says which kind."""

    message = "{method} {target}: {status} {reason}"

    method: str
    target: str
    status: int
    reason: str

    @property
    def brief(self) -> str:
        return f"{self.status} {self.reason}".rstrip()


class Unauthorized(RequestFailed):
    """401: the login or the token is not accepted."""


class Forbidden(RequestFailed):
    """403: the user may not do this."""


class NotFound(RequestFailed):
    """404: there is no such account, container or object."""


class Conflict(RequestFailed):
    """409: the state of the resource does not allow this, such as deleting a container that holds objects."""


class ConditionFailed(RequestFailed):
    """412: a condition of the request, such as If-Match, does not hold."""


class RangeNotSatisfiable(RequestFailed):
    """416: the object ends before the range begins."""


class TooManyRequests(RequestFailed):
    """429 or 498: the store limits the rate of requests."""


class ServerFailed(RequestFailed):
    """5xx: the store could not do what it was asked."""


KINDS: Final[dict[int, type[RequestFailed]]] = {
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    412: ConditionFailed,
    416: RangeNotSatisfiable,
    429: TooManyRequests,
    498: TooManyRequests,
}


def failure_of(method: str, target: str, status: int, reason: str) -> RequestFailed:
    kind = KINDS.get(status, ServerFailed if status >= 500 else RequestFailed)
    return kind(method, target, status, reason)
