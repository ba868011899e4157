"""Reads of objects of strong policies: what is answered is on a quorum of the nodes, so no later read goes back.

One node is asked for the object and, at the same time, others for the names of its versions, until a quorum has
answered. Their states are the same, nearly always. If they are not, more nodes are asked, and what a quorum has is
answered. If no quorum has the same, a write is under way, or came to its end half done: after a moment of patience
what is newest is brought to a quorum first.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from objstore.devices import Device
from objstore.http.bodies import BytesBody
from objstore.http.transport import BackendRequest, BackendResponse, Exchange, NodeFailure, wait_any
from objstore.proxy.core.backend import agreement as backend
from objstore.proxy.core.backend import codes
from objstore.proxy.core.nodes import Placement
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


class StrongPoll:
    """One read of the nodes' states, and of the object by one of them."""

    __slots__ = (
        "_found",
        "_headers",
        "_method",
        "_names",
        "_pending",
        "_placement",
        "_reader",
        "_shared",
        "_spares",
        "_states",
    )

    def __init__(self, reader: Reader, method: str, placement: Placement, headers: Mapping[str, str]) -> None:
        self._reader = reader
        self._method = method
        self._placement = placement
        self._headers = headers
        self._names = backend.names_only(headers)
        self._spares = self._nodes()
        self._states: dict[Device, str] = {}
        self._shared: str | None = None  # the state that a quorum has
        self._found: BackendResponse | None = None  # the answer with the object, or that there is none
        self._pending: dict[Exchange, bool] = {}  # whether it is for the object

    def _nodes(self) -> Iterator[Device]:
        nodes = self._reader.nodes
        yield from nodes.for_reading(self._placement)
        yield from nodes.error_limited_primaries(self._placement)

    @property
    def is_divided(self) -> bool:
        """Whether enough nodes have answered, and no quorum the same."""
        return len(self._states) >= self._placement.quorum

    def run(self) -> BackendResponse | None:
        """The answer about a state that a quorum has; None if there is none, or too few answer."""
        try:
            first = next(self._spares, None)
            for _ in range(self._placement.quorum - 1):
                self._ask_next(for_object=False)
            if first is None or not self._ask(first, for_object=True):
                self._ask_next(for_object=True)
            for exchange in self._answered():
                self._take(exchange, self._pending.pop(exchange))
                if self._shared is not None and (found := self._about(self._shared)) is not None:
                    self._found = None
                    return found
            return None
        finally:
            if self._found is not None:
                self._found.close()
            for exchange in self._pending:
                exchange.abandon()

    def _ask_next(self, for_object: bool) -> bool:
        """Ask another node; whether there is one left."""
        return any(self._ask(node, for_object) for node in self._spares)

    def _ask(self, node: Device, for_object: bool) -> bool:
        placement, reader = self._placement, self._reader
        method, headers = (self._method, self._headers) if for_object else ("HEAD", self._names)
        begin = reader.transport.start if for_object else reader.transport.ask
        request = BackendRequest(method, node, placement.partition, placement.path, headers)
        try:
            exchange = begin(request, timeout_seconds=reader.timeout_seconds)
        except NodeFailure:
            reader.nodes.record_failure(node)
            return False
        self._pending[exchange] = for_object
        return True

    def _answered(self) -> Iterator[Exchange]:
        """Exchanges as they become ready. A node that is slow has another one asked beside it."""
        reader, pending = self._reader, self._pending
        deadline = concurrency.monotonic() + reader.timeout_seconds
        while pending:
            first = next(iter(pending))
            if first.ready:
                yield first
                continue
            left = deadline - concurrency.monotonic()
            ready = wait_any(list(pending), min(left, reader.patience_seconds))
            if ready:
                yield from ready
            elif left <= 0:
                for exchange in pending:
                    reader.nodes.record_failure(exchange.node)
                return
            else:
                self._ask_next(for_object=self._found is None)

    def _take(self, exchange: Exchange, for_object: bool) -> None:
        response = self._reader.answer_of(exchange)
        state = None if response is None else backend.state_of(response)
        if response is None or state is None:  # it cannot say what it has
            if response is not None:
                response.close()
            self._ask_next(for_object)
            return
        self._states[exchange.node] = state
        if list(self._states.values()).count(state) >= self._placement.quorum:
            self._shared = state
        if for_object and self._found is None:
            self._found = response
        else:
            response.close()
        if not self._pending and self._shared is None:
            self._ask_next(for_object=False)

    def _about(self, state: str) -> BackendResponse | None:
        """The answer with the object in that state, by the first node or by another one that has it."""
        found = self._found
        if found is not None and backend.state_of(found) == state:
            return found
        for node in [node for node, held in self._states.items() if held == state]:
            response = self._reader.ask(self._method, node, self._placement, self._headers)
            if response is None:
                continue
            if backend.state_of(response) == state:
                return response
            response.close()
        return None
