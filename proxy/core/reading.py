"""Reads of one resource: from one node after the other, or from all of them for the newest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from objstore.devices import Device
from objstore.http.bodies import BytesBody
from objstore.http.transport import BackendRequest, BackendResponse, Exchange, NodeFailure, Transport, wait_any
from objstore.proxy.core.backend import codes
from objstore.proxy.core.backend.objects import NEVER, gone_stamp, refusal_headers, stamp_of
from objstore.proxy.core.nodes import NodeSelector, Placement
from objstore.quorum import best_status
from objstore.system import concurrency

# Bodies up to this size are read before the client is answered: they leave in one piece, and cannot break off.
SMALL_BODY_MAX: Final = 65536
# A node that takes longer to begin its answer is waited for beside the next one.
PATIENCE_SECONDS: Final = 2.0


class Reader:
    """Reads from the storage servers; one for each process."""

    def __init__(self, transport: Transport, nodes: NodeSelector, timeout_seconds: float) -> None:
        self.transport: Final = transport
        self.nodes: Final = nodes
        self.timeout_seconds: Final = timeout_seconds
        self.patience_seconds: Final = min(PATIENCE_SECONDS, timeout_seconds)

    def read(
        self, method: str, placement: Placement, headers: Mapping[str, str], query: str = "", *, newest: bool = False
    ) -> BackendResponse:
        """The first good answer or, for `newest`, that of the node with the newest data.

        Never raises: the answer says NOT_FOUND of what nobody has, UNAVAILABLE if too few nodes answered. Bodies of up
        to SMALL_BODY_MAX are at hand as a whole.
        """
        read = Read(self, method, placement, headers, query)
        return read.newest() if newest else read.first()

    def ask(
        self, method: str, node: Device, placement: Placement, headers: Mapping[str, str], query: str = ""
    ) -> BackendResponse | None:
        """One node's answer, a small body read; None if it fails."""
        request = BackendRequest(method, node, placement.partition, placement.path, headers, query)
        try:
            response = self.transport.start(request, b"", self.timeout_seconds).response()
            return self._settled(node, response)
        except NodeFailure:
            self.nodes.record_failure(node)
            return None

    def _settled(self, node: Device, response: BackendResponse) -> BackendResponse | None:
        """The answer with its body read, if that is small; None for a failure of the server's. Raises NodeFailure."""
        if response.status >= codes.SERVER_ERROR:
            response.close()
            self.nodes.record_error(node, response)
            return None
        body = response.body
        if not isinstance(body, BytesBody) and body.length is not None and body.length <= SMALL_BODY_MAX:
            length = body.length
            content = response.read_all(SMALL_BODY_MAX)
            if len(content) != length:
                raise NodeFailure(node, "disconnect")
            response.body = BytesBody(content)
        return response

    def answer_of(self, exchange: Exchange) -> BackendResponse | None:
        """The answer of an exchange under way, a small body read; None if the node fails."""
        try:
            return self._settled(exchange.node, exchange.response())
        except NodeFailure:
            self.nodes.record_failure(exchange.node)
            return None


class Read:
    """One read, and what the nodes have said so far."""

    __slots__ = ("_gone", "_headers", "_method", "_placement", "_query", "_reader", "_refusal", "_votes")

    def __init__(
        self, reader: Reader, method: str, placement: Placement, headers: Mapping[str, str], query: str
    ) -> None:
        self._reader = reader
        self._method = method
        self._placement = placement
        self._headers = headers
        self._query = query
        self._votes: list[int] = []  # statuses that say something about the resource
        self._refusal: BackendResponse | None = None  # the one that knows best
        self._gone = NEVER  # the newest of what was deleted or has expired, as far as we know

    def first(self) -> BackendResponse:
        """Ask one after the other until one has it."""
        late: list[Exchange] = []
        try:
            for exchange in self._ready_exchanges(late):
                response = self._reader.answer_of(exchange)
                if response is not None and self._accepts(response, exchange.node):
                    return response
            return self._failure()
        finally:
            self._abandon(late)

    def _ready_exchanges(self, late: list[Exchange]) -> Iterator[Exchange]:
        """An exchange with each node once it is ready; those that are slow are in `late` meanwhile, and come last."""
        reader = self._reader
        nothing: Iterator[Device] = iter(())
        for node in self._nodes():
            if (exchange := self._start(node, nothing)) is None:
                continue
            if exchange.ready_within(reader.patience_seconds):
                yield exchange
            else:
                late.append(exchange)
        deadline = concurrency.monotonic() + reader.timeout_seconds
        while late and (ready := wait_any(late, deadline - concurrency.monotonic())):
            for exchange in ready:
                late.remove(exchange)
                yield exchange

    def _nodes(self) -> Iterator[Device]:
        nodes, placement = self._reader.nodes, self._placement
        yield from nodes.for_reading(placement)
        for node in nodes.error_limited_primaries(placement):
            if self._decided() is not None:
                return  # a quorum of primaries knows nothing of it, so one that hardly works need not be asked
            yield node

    def _abandon(self, exchanges: Sequence[Exchange]) -> None:
        for exchange in exchanges:
            exchange.abandon()
            self._reader.nodes.record_failure(exchange.node)

    def newest(self) -> BackendResponse:
        """Ask all at once, and take the newest that is there, or was deleted."""
        best: BackendResponse | None = None
        for response, node in self._answers():
            if not _is_good(response.status):
                self._refused(response, node)
            elif best is None or stamp_of(response) > stamp_of(best):
                if best is not None:
                    best.close()
                best = response
            else:
                response.close()
        if best is None:
            return self._failure()
        if stamp_of(best) < self._gone:
            best.close()
            self._votes = [codes.NOT_FOUND] * self._placement.replicas
            return self._failure()
        return best

    def _answers(self) -> Iterator[tuple[BackendResponse, Device]]:
        """The answers of all primaries, present and former; a handoff replaces each one that fails."""
        reader, placement = self._reader, self._placement
        nodes, spares = reader.nodes.for_writing(placement)
        pending: list[Exchange] = []
        for node in (*nodes, *reader.nodes.former_primaries(placement)):
            if (started := self._start(node, spares)) is not None:
                pending.append(started)
        deadline = concurrency.monotonic() + reader.timeout_seconds
        while pending:
            ready = wait_any(pending, deadline - concurrency.monotonic())
            for exchange in ready:
                pending.remove(exchange)
                response = reader.answer_of(exchange)
                if response is not None:
                    yield response, exchange.node
                elif (spare := next(spares, None)) is not None and (started := self._start(spare, spares)) is not None:
                    pending.append(started)
            if not ready:
                break
        self._abandon(pending)

    def _start(self, node: Device, spares: Iterator[Device]) -> Exchange | None:
        """Ask a node or, while none can be reached, the next of the spare ones."""
        reader, placement = self._reader, self._placement
        chosen: Device | None = node
        while chosen is not None:
            request = BackendRequest(
                self._method, chosen, placement.partition, placement.path, self._headers, self._query
            )
            try:
                return reader.transport.start(request, b"", reader.timeout_seconds)
            except NodeFailure:
                reader.nodes.record_failure(chosen)
                chosen = next(spares, None)
        return None

    def _accepts(self, response: BackendResponse, node: Device) -> bool:
        """Whether to answer with it; remembers what it says otherwise."""
        status = response.status
        if status <= codes.SUCCESS_MAX or status in codes.CONDITION_ANSWERS:
            # Older data than a deletion we have seen must not come back to life.
            if stamp_of(response) >= self._gone:
                return True
            response.close()
            return False
        self._refused(response, node)
        return False

    def _refused(self, response: BackendResponse, node: Device) -> None:
        gone = gone_stamp(response) if response.status == codes.NOT_FOUND else NEVER
        # A handoff that never had the resource says nothing about it, so it has no vote.
        if gone > NEVER or node in self._placement.primaries:
            self._votes.append(response.status)
            if self._refusal is None or gone > self._gone:
                self._refusal = response
        self._gone = max(self._gone, gone)
        response.close()

    def _decided(self) -> int | None:
        status = best_status(self._votes, self._placement.quorum)
        return None if status == codes.UNAVAILABLE else status

    def _failure(self) -> BackendResponse:
        status = self._decided()
        if status is None:
            return BackendResponse(codes.UNAVAILABLE, {}, BytesBody(b""))
        headers = {} if self._refusal is None else refusal_headers(self._refusal)
        return BackendResponse(status, headers, BytesBody(b""))


def _is_good(status: int) -> bool:
    return status <= codes.SUCCESS_MAX or status in codes.CONDITION_ANSWERS
