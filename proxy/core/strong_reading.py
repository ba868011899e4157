"""Reads of objects of strong policies: what is answered is on a quorum of the nodes, so no later read goes back.

One node is asked for the object and, at the same time, others for the names of its versions, until a quorum has
answered. Their states are the same, nearly always. If they are not, more nodes are asked, and what a quorum has is
answered. If no quorum has the same, a write is under way, or came to its end half done: after a moment of patience
what is newest is brought to a quorum first.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from objstore.devices import Device
from objstore.http.bodies import BytesBody
from objstore.http.transport import BackendResponse, Exchange
from objstore.proxy.core.backend import agreement as backend
from objstore.proxy.core.backend import codes
from objstore.proxy.core.nodes import Placement
from objstore.proxy.core.polling import ObjectPoll
from objstore.proxy.core.reading import Reader
from objstore.proxy.core.strong import Agreement
from objstore.system import concurrency

READS_MAX: Final = 12
# So often it is looked whether writes under way have come to their end, before what is newest is brought to a quorum.
PATIENT_READS: Final = 2


class StrongReader:
    """Reads objects of strong policies; one for each process."""

    def __init__(self, reader: Reader, agreement: Agreement) -> None:
        self.reader: Final = reader
        self._agreement: Final = agreement

    def read(self, method: str, placement: Placement, headers: Mapping[str, str]) -> BackendResponse:
        """The answer about the state that a quorum has. Never raises: it says UNAVAILABLE if none has one."""
        deadline = 0.0
        for tries in range(READS_MAX):
            poll = StrongPoll(self.reader, method, placement, headers)
            found = poll.run()
            if found is not None:
                return found
            deadline = deadline or concurrency.monotonic() + self.reader.timeout_seconds
            if not poll.is_divided or concurrency.monotonic() > deadline:
                break
            if tries >= PATIENT_READS:
                self._agreement.settle(placement, headers)
            self._agreement.back_off(tries)
        return BackendResponse(codes.UNAVAILABLE, {}, BytesBody(b""))


class StrongPoll(ObjectPoll):
    """One read of the nodes' states, and of the object by one of them."""

    __slots__ = ("_found", "_shared", "_states")

    def __init__(self, reader: Reader, method: str, placement: Placement, headers: Mapping[str, str]) -> None:
        super().__init__(reader, method, placement, headers)
        self._states: dict[Device, str] = {}
        self._shared: str | None = None  # the state that a quorum has
        self._found: BackendResponse | None = None  # the answer with the object, or that there is none

    @property
    def has_object(self) -> bool:
        return self._found is not None

    @property
    def is_divided(self) -> bool:
        """Whether enough nodes have answered, and no quorum the same."""
        return len(self._states) >= self.placement.quorum

    def run(self) -> BackendResponse | None:
        """The answer about a state that a quorum has; None if there is none, or too few answer."""
        try:
            self.ask(self.placement.quorum)
            for exchange in self.answered():
                self._take(exchange, self.pending.pop(exchange))
                if self._shared is not None and (found := self._about(self._shared)) is not None:
                    self._found = None
                    return found
            return None
        finally:
            if self._found is not None:
                self._found.close()
            for exchange in self.pending:
                exchange.abandon()

    def _take(self, exchange: Exchange, for_object: bool) -> None:
        response = self.reader.answer_of(exchange)
        state = None if response is None else backend.state_of(response)
        if response is None or state is None:  # it cannot say what it has
            if response is not None:
                response.close()
            self.ask_next(for_object)
            return
        self._states[exchange.node] = state
        if list(self._states.values()).count(state) >= self.placement.quorum:
            self._shared = state
        if for_object and self._found is None:
            self._found = response
        else:
            response.close()
        if not self.pending and self._shared is None:
            self.ask_next(for_object=False)

    def _about(self, state: str) -> BackendResponse | None:
        """The answer with the object in that state, by the first node or by another one that has it."""
        found = self._found
        if found is not None and backend.state_of(found) == state:
            return found
        for node in [node for node, held in self._states.items() if held == state]:
            response = self.reader.ask(self.method, node, self.placement, self.headers)
            if response is None:
                continue
            if backend.state_of(response) == state:
                return response
            response.close()
        return None
