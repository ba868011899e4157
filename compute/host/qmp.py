"""QEMU's monitor: commands as JSON lines over a UNIX socket (QEMU Machine Protocol), and the guest agent's, too."""

from __future__ import annotations

import json
import socket
import time
from dataclasses import dataclass
from types import TracebackType
from typing import Any, ClassVar, Final, Self

from objstore.compute.host.driver import MachineError

COMMAND_SECONDS: Final = 10.0
LINE_BYTES_MAX: Final = 16 * 1024 * 1024
EVENTS_MAX: Final = 1000


@dataclass(eq=False)
class MonitorError(MachineError):
    """The monitor cannot be reached, does not answer in time, or refuses a command."""

    message: ClassVar[str] = "the hypervisor: {reason}"


class Monitor:
    """A connection to a monitor; one machine has one at a time, others wait for it to be closed.

    A context manager. Every method raises MonitorError.
    """

    def __init__(self, path: str, *, greets: bool = True, seconds: float = COMMAND_SECONDS) -> None:
        self._seconds = seconds
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._buffer = b""
        self.events: list[dict[str, Any]] = []
        try:
            self._socket.settimeout(seconds)
            self._socket.connect(path)
            if greets:
                self._line(time.monotonic() + seconds)
                self.command("qmp_capabilities")
        except OSError as error:
            self._socket.close()
            raise MonitorError(error.strerror or "no answer") from error
        except MonitorError:
            self._socket.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def command(self, name: str, arguments: dict[str, Any] | None = None, seconds: float | None = None) -> Any:
        """What a command returns. Events that come meanwhile are kept."""
        deadline = time.monotonic() + (self._seconds if seconds is None else seconds)
        request = {"execute": name} | ({"arguments": arguments} if arguments else {})
        try:
            self._socket.sendall(json.dumps(request).encode() + b"\n")
        except OSError as error:
            raise MonitorError(error.strerror or "no answer") from error
        while True:
            answer = self._line(deadline)
            if "return" in answer:
                return answer["return"]
            if "error" in answer:
                raise MonitorError(str(answer["error"].get("desc", answer["error"]))[:300])
            self._keep(answer)

    def wait_for_event(self, wanted: str, seconds: float, **data: object) -> dict[str, Any]:
        """The next event of this name whose data has these values."""
        deadline = time.monotonic() + seconds
        while True:
            for event in self.events:
                details = event.get("data", {})
                if event.get("event") == wanted and all(details.get(key) == value for key, value in data.items()):
                    self.events.remove(event)
                    return event
            self._keep(self._line(deadline))

    def _keep(self, event: dict[str, Any]) -> None:
        self.events.append(event)
        del self.events[:-EVENTS_MAX]

    def _line(self, deadline: float) -> dict[str, Any]:
        while b"\n" not in self._buffer:
            left = deadline - time.monotonic()
            if left <= 0:
                raise MonitorError("no answer in time")
            self._socket.settimeout(left)
            try:
                piece = self._socket.recv(65536)
            except OSError as error:
                raise MonitorError("no answer in time" if isinstance(error, TimeoutError) else str(error)) from error
            if not piece:
                raise MonitorError("it has ended")
            self._buffer += piece
            if len(self._buffer) > LINE_BYTES_MAX:
                raise MonitorError("its answer is too long")
        line, _, self._buffer = self._buffer.partition(b"\n")
        try:
            answer = json.loads(line)
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            raise MonitorError("its answer is not JSON")
        return answer
