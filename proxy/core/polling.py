"""What reads ask of several nodes at once: of one the object, of the others the names of what they have."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Final

from objstore.devices import Device
from objstore.http.transport import BackendRequest, Exchange, NodeFailure, wait_any
from objstore.proxy.core.backend import agreement as backend
from objstore.proxy.core.nodes import Placement
from objstore.proxy.core.reading import Reader
from objstore.system import concurrency


class ObjectPoll:
    """Exchanges with nodes; who reads says what their answers amount to.

    pending: exchanges under way, and whether each is for the object.
    """

    __slots__ = ("_question", "_spares", "headers", "method", "pending", "placement", "reader")

    def __init__(self, reader: Reader, method: str, placement: Placement, headers: Mapping[str, str]) -> None:
        self.reader: Final = reader
        self.method: Final = method
        self.placement: Final = placement
        self.headers: Final = headers
        self.pending: dict[Exchange, bool] = {}
        self._question = "HEAD", backend.names_only(headers)
        self._spares = chain(reader.nodes.for_reading(placement), reader.nodes.error_limited_primaries(placement))

    @property
    def has_object(self) -> bool:
        """Whether a node has answered with the object, or that there is none."""
        raise NotImplementedError

    def ask(self, count: int) -> None:
        """Ask so many nodes, one of them for the object: last, since a server of this process answers that at once."""
        first = next(self._spares, None)
        for _ in range(count - 1):
            self.ask_next(for_object=False)
        if first is None or not self._ask(first, for_object=True):
            self.ask_next(for_object=True)

    def ask_next(self, for_object: bool) -> bool:
        """Ask another node; whether there is one left."""
        return any(self._ask(node, for_object) for node in self._spares)

    def _ask(self, node: Device, for_object: bool) -> bool:
        placement, reader = self.placement, self.reader
        method, headers = (self.method, self.headers) if for_object else self._question
        begin = reader.transport.start if for_object else reader.transport.ask
        request = BackendRequest(method, node, placement.partition, placement.path, headers)
        try:
            exchange = begin(request, timeout_seconds=reader.timeout_seconds)
        except NodeFailure:
            reader.nodes.record_failure(node)
            return False
        self.pending[exchange] = for_object
        return True

    def answered(self) -> Iterator[Exchange]:
        """Exchanges as they become ready, still in `pending`. A node that is slow has another one asked beside it."""
        reader, pending = self.reader, self.pending
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
                self.ask_next(for_object=not self.has_object)
