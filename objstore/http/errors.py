"""An error that is already an HTTP answer."""

from dataclasses import dataclass, field
from http import HTTPStatus
from typing import ClassVar, Final

from objstore.errors import StoreError

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
