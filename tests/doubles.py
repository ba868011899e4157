"""Stand-ins that tests of several tiers use: a clock that is set by hand, and a transport that records requests."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from objstore.devices import Device
from objstore.http.bodies import BytesBody
from objstore.http.transport import BackendRequest, BackendResponse, BackendUpload, Exchange, NodeFailure, Transport
from objstore.rows import decode_object_rows
from objstore.system.clock import Clock
from objstore.system.concurrency import Event

START_SECONDS: Final = 1_700_000_000.0


class ManualClock(Clock):
    """Stands still until a test sets `seconds`, or `elapsed` for monotonic time alone.

    Where code under test waits for a lock by monotonic time, that has to go on by itself: `running`.
    """

    def __init__(self, seconds: float = START_SECONDS, *, running: bool = False) -> None:
        super().__init__()
        self.seconds = seconds
        self.elapsed = 0.0
        self._running = running

    def now(self) -> float:
        return self.seconds

    def monotonic(self) -> float:
        return (super().monotonic() if self._running else self.seconds) + self.elapsed


@dataclass
class RecordedExchange(Exchange):
    """An answer without a body that is there at once."""

    node: Device
    status: int
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def ready(self) -> bool:
        return True

    def response(self) -> BackendResponse:
        return BackendResponse(self.status, self.headers, BytesBody(b""))

    def abandon(self) -> None:
        raise AssertionError("an answer that is there is not abandoned")

    def watched(self) -> int | Event[None]:
        raise AssertionError("nobody waits for an answer that is there")


@dataclass
class RecordingTransport(Transport):
    """Records every request, and answers with `status`, or the node's in `status_of`; None: nobody is there."""

    status: int | None = 202
    status_of: dict[str | int, int | None] = field(default_factory=dict)  # by the device's name or id
    headers_of: Callable[[BackendRequest, bytes], dict[str, str]] = lambda request, body: {}
    decode: Callable[[bytes], list[Any]] = decode_object_rows
    requests: list[tuple[BackendRequest, bytes]] = field(default_factory=list)
    timeouts: list[float] = field(default_factory=list)

    def start(self, request: BackendRequest, body: bytes = b"", timeout_seconds: float = 1.0) -> Exchange:
        self.requests.append((request, body))
        self.timeouts.append(timeout_seconds)
        status = self.status_of.get(request.node.device, self.status_of.get(request.node.id, self.status))
        if status is None:
            raise NodeFailure(request.node, "connect")
        return RecordedExchange(request.node, status, self.headers_of(request, body))

    def start_upload(self, request: BackendRequest, length: int | None, timeout_seconds: float = 1.0) -> BackendUpload:
        raise AssertionError("no upload is expected")

    @property
    def rows(self) -> list[Any]:
        """All rows that were sent."""
        return [row for _, body in self.requests for row in self.decode(body)]
