"""Errors that are HTTP answers already, and what the errors of values become in HTTP."""

from dataclasses import dataclass, field
from http import HTTPStatus
from typing import ClassVar, Final

from objstore.errors import StoreError
from objstore.headers import Backend
from objstore.limits import InvalidMetadata, InvalidName, InvalidText, ListingTooLong, ObjectTooLarge
from objstore.mounts import DeviceFull, DeviceUnavailable
from objstore.rows import InvalidRows

REASONS: Final[dict[int, str]] = {int(status): status.phrase for status in HTTPStatus} | {
    # Outside the registry, as object stores and proxies answer them.
    497: "Blacklisted",
    498: "Rate Limited",
    499: "Client Disconnect",
    529: "Too Many Backend Requests",
}


@dataclass(eq=False)
class HttpError(StoreError):
    """Raised by handlers and rendered at the edge.

    `reason` is one line for the client and becomes the body; by default it is the status's own phrase.
    """

    message: ClassVar[str] = "{status} {reason}"

    status: int
    reason: str = ""
    headers: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.reason:
            self.reason = REASONS.get(self.status, "Unknown")


# What the storage servers and the Swift API answer alike. A header tells a full device from one that is gone.
VALUE_ERRORS: Final[dict[type[StoreError], tuple[int, dict[str, str]]]] = {
    DeviceFull: (507, {Backend.DEVICE_FULL: "true"}),
    DeviceUnavailable: (507, {}),
    InvalidMetadata: (400, {}),
    InvalidName: (400, {}),
    InvalidRows: (400, {}),
    InvalidText: (412, {}),
    ListingTooLong: (412, {}),
    ObjectTooLarge: (413, {}),
}


def http_error_of(error: StoreError) -> HttpError | None:
    """The answer to the error of a value; None for any other error."""
    if isinstance(error, HttpError):
        return error
    answer = VALUE_ERRORS.get(type(error))
    return None if answer is None else HttpError(answer[0], str(error), dict(answer[1]))
