"""Servers that answer nothing: each client process remembers them, and does not wait for them again and again.

A hung server is no dead one: the kernel accepts connections for it, and takes requests, but no answer comes. All of a
process hangs at once, so servers are told apart by address, not by device.
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from objstore.devices import Device
from objstore.system import concurrency

# A server that was asked, and has answered nobody for so long, is unresponsive.
SILENCE_SECONDS: Final = 2.0
# The least time from one probe to the next.
PROBE_SECONDS: Final = 2.0
NEVER: Final = float("-inf")

Address = tuple[str, int]


class _Silence(Struct):
    since: float  # when the first request was sent that is not answered
    probe_at: float | None = None  # when the next request may go out; None while the server is not unresponsive


class UnresponsiveServers:
    """Refuses requests to a server that has answered nothing for SILENCE_SECONDS, but for one probe at a time.

    Any answer ends that, whatever its status. Addresses come from rings, so there are not more than servers.
    """

    def __init__(self) -> None:
        self._answered: Final[dict[Address, float]] = {}
        self._silent: Final[dict[Address, _Silence]] = {}

    def answered(self, node: Device) -> None:
        """The server has answered, or goes on doing so."""
        address = node.ip, node.port
        self._answered[address] = concurrency.monotonic()
        if self._silent:
            self._silent.pop(address, None)

    def unanswered(self, node: Device, since: float) -> None:
        """A request sent at that time (`concurrency.monotonic`) has timed out, or is not waited for any longer."""
        address, now = (node.ip, node.port), concurrency.monotonic()
        since = max(since, self._answered.get(address, NEVER))
        silence = self._silent.setdefault(address, _Silence(since))
        silence.since = min(silence.since, since)
        if silence.probe_at is None and now - silence.since >= SILENCE_SECONDS:
            silence.probe_at = now + PROBE_SECONDS

    def is_unresponsive(self, node: Device) -> bool:
        """Whether a request to the server would be refused, or be a probe."""
        silence = self._silent.get((node.ip, node.port))
        return silence is not None and silence.probe_at is not None

    def refusal(self, node: Device, timeout_seconds: float) -> str | None:
        """Why not to send the server a request, whose answer may take `timeout_seconds`; None lets it go out."""
        if not self._silent or (silence := self._silent.get((node.ip, node.port))) is None or silence.probe_at is None:
            return None
        now = concurrency.monotonic()
        if now < silence.probe_at:
            return "unresponsive"
        silence.probe_at = now + max(PROBE_SECONDS, timeout_seconds)
        return None
