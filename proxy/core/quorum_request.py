"""Writes to the nodes of a placement: one request to each, handoffs for nodes that fail, and a quorum of answers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from objstore.checksums import Algorithm
from objstore.devices import Device
from objstore.http.transport import BackendRequest, BackendResponse, Exchange, NodeFailure, Transport, wait_any
from objstore.limits import ObjectTooLarge
from objstore.proxy.core.backend import codes
from objstore.proxy.core.backend.fragments import add_fragments, whole_size
from objstore.proxy.core.backend.objects import Headers, proof
from objstore.proxy.core.checksums import digest_of
from objstore.proxy.core.container_update_fallback import reassign_container_updates
from objstore.proxy.core.errors import IncompleteBody
from objstore.proxy.core.nodes import NodeSelector, Placement
from objstore.quorum import has_quorum
from objstore.scheme import Scheme
from objstore.system import concurrency

if TYPE_CHECKING:
    from objstore.http.messages import BodyReader
    from objstore.proxy.core.objects import PutObject

UNANSWERED: Final = codes.UNAVAILABLE
# A body up to this size goes out together with the head of its request.
SMALL_BODY_MAX: Final = 65536
# Methods that change something that must be there.
CHANGING: Final = frozenset({"POST", "DELETE"})


class Writer:
    """Writes to the storage servers; one for each process."""

    def __init__(
        self, transport: Transport, nodes: NodeSelector, timeout_seconds: float, post_quorum_timeout_seconds: float
    ) -> None:
        self.transport: Final = transport
        self.nodes: Final = nodes
        self.timeout_seconds: Final = timeout_seconds
        self.post_quorum_timeout_seconds: Final = post_quorum_timeout_seconds

    def send(
        self,
        method: str,
        placement: Placement,
        headers: Sequence[Mapping[str, str]],
        bodies: Sequence[bytes] | None = None,
    ) -> QuorumResult:
        """Send a request to each primary, `headers[i]` and `bodies[i]` to the i-th, and collect the answers.

        Waits for all, but no longer than the post-quorum timeout once the placement's quorum of them agrees. Never
        raises.
        """
        result = QuorumRequest(self, method, placement, headers, bodies).run()
        if method in CHANGING and codes.NOT_FOUND in result.statuses and not (placement.strict or _succeeded(result)):
            self._ask_others(method, placement, headers[0], result)
        return result

    def _ask_others(self, method: str, placement: Placement, headers: Mapping[str, str], result: QuorumResult) -> None:
        """Retry on previous and on error-limited primaries; a success there replaces one NOT_FOUND.

        What a new ring moves may still be where it was. What some nodes have changed was there, so an error-limited
        primary may have it too, other than the handoff in its place.
        """
        others = self.nodes.former_primaries(placement)
        if min(result.statuses) <= codes.SUCCESS_MAX:
            others = [*others, *self.nodes.error_limited_primaries(placement)]
        for node in others:
            request = BackendRequest(method, node, placement.partition, placement.path, headers)
            try:
                response = self.transport.request(request, b"", self.timeout_seconds)
            except NodeFailure:
                self.nodes.record_failure(node)
                continue
            response.close()
            if response.status <= codes.SUCCESS_MAX and codes.NOT_FOUND in result.statuses:
                result.statuses[result.statuses.index(codes.NOT_FOUND)] = response.status
                result.responses.append(response)
                result.nodes.append(node)


class QuorumResult:
    """The nodes' answers; a node that failed, with all handoffs that could take its place, counts as UNANSWERED."""

    __slots__ = ("nodes", "quorum", "responses", "statuses")

    def __init__(self, quorum: int) -> None:
        self.quorum = quorum
        self.statuses: list[int] = []
        self.responses: list[BackendResponse] = []  # closed: for their headers
        self.nodes: list[Device] = []  # whose responses these are, in the same order

    def header(self, status: int, name: str) -> str | None:
        """A header of the first answer with that status that has it."""
        for response in self.responses:
            if response.status == status and name in response.headers:
                return response.headers[name]
        return None


def _succeeded(result: QuorumResult) -> bool:
    return sum(status <= codes.SUCCESS_MAX for status in result.statuses) >= result.quorum


class ResponseCollector:
    """Takes the answers of exchanges under way; no node takes the place of one that fails."""

    def __init__(self, writer: Writer, placement: Placement) -> None:
        self._writer: Final = writer
        self._strict: Final = placement.strict
        self._pending: list[Exchange] = []
        self.result: Final = QuorumResult(placement.quorum)
        self.taken: Final[dict[Exchange, int]] = {}  # statuses that are no failures of the server's own

    def add(self, exchange: Exchange) -> None:
        self._pending.append(exchange)

    def collect(self) -> QuorumResult:
        """Wait for the answers: all of them or, after a quorum, those that come soon."""
        pending, grace = self._pending, self._writer.post_quorum_timeout_seconds
        # Nearly always all answer at about the same time: to take them in turn saves looking at the others.
        while pending:
            exchange = pending[0]
            if not exchange.ready and not wait_any((exchange,), grace):
                self._collect_late()
                break
            del pending[0]
            self._take(exchange)
        return self.result

    def _collect_late(self) -> None:
        """One node has not answered for as long as the post-quorum timeout."""
        pending, writer = self._pending, self._writer
        deadline = concurrency.monotonic() + writer.timeout_seconds
        grace = 0.0  # a quorum that stands by now has waited long enough
        self._take_all([exchange for exchange in pending if exchange.ready])
        while pending and not self._is_decided():
            grace = writer.post_quorum_timeout_seconds
            ready = wait_any(pending, deadline - concurrency.monotonic())
            if not ready:
                break
            self._take_all(ready)
        deadline = min(deadline, concurrency.monotonic() + grace)
        while pending and (ready := wait_any(pending, deadline - concurrency.monotonic())):
            self._take_all(ready)
        for exchange in pending:
            exchange.abandon()
            writer.nodes.record_failure(exchange.node)
            self.result.statuses.append(UNANSWERED)
        pending.clear()

    def _is_decided(self) -> bool:
        """Whether enough have answered, so that the others are not waited for."""
        result = self.result
        if self._strict:  # whatever they say is weighed by who has asked
            return len(result.responses) >= result.quorum
        return has_quorum(result.statuses, result.quorum)

    def _take_all(self, ready: Sequence[Exchange]) -> None:
        for exchange in ready:
            self._pending.remove(exchange)
            self._take(exchange)

    def _take(self, exchange: Exchange) -> None:
        nodes = self._writer.nodes
        try:
            response = exchange.response()
        except NodeFailure:
            nodes.record_failure(exchange.node)
        else:
            response.close()
            if response.status < codes.SERVER_ERROR:
                self.result.statuses.append(response.status)
                self.result.responses.append(response)
                self.result.nodes.append(exchange.node)
                self.taken[exchange] = response.status
                return
            nodes.record_error(exchange.node, response)
        if not self._replace(exchange):
            self.result.statuses.append(UNANSWERED)

    def _replace(self, exchange: Exchange) -> bool:
        """Whether another node has been asked instead."""
        return False


class QuorumRequest(ResponseCollector):
    """One whole request to each node of a placement."""

    def __init__(
        self,
        writer: Writer,
        method: str,
        placement: Placement,
        headers: Sequence[Mapping[str, str]],
        bodies: Sequence[bytes] | None,
    ) -> None:
        super().__init__(writer, placement)
        self._method: Final = method
        self._placement: Final = placement
        self._headers: Final = headers
        self._bodies: Final = bodies
        self._index_of: dict[Exchange, int] = {}
        self._handoffs: Iterator[Device] | None = None  # looked for when a node fails

    def run(self) -> QuorumResult:
        placement, selector = self._placement, self._writer.nodes
        nodes: Sequence[Device] = placement.primaries
        if selector.failures:
            nodes, self._handoffs = selector.for_writing(placement)
        for index in range(len(self._headers)):
            if not (index < len(nodes) and self._start(nodes[index], index)) and not self._start_handoff(index):
                self.result.statuses.append(UNANSWERED)
        self.collect()
        if max(self.result.statuses, default=0) > codes.SUCCESS_MAX and not self._strict:
            self._reassign_updates()
        return self.result

    def _reassign_updates(self) -> None:
        """Nodes that have written inform the containers of those that have not."""
        done = {
            self._index_of[exchange]: exchange.node for exchange, status in self.taken.items() if self._wrote(status)
        }
        if len(done) >= self.result.quorum:
            reassign_container_updates(self._writer, self._placement, self._headers, done)

    def _wrote(self, status: int) -> bool:
        # A tombstone is written whether there was an object or not.
        return status <= codes.SUCCESS_MAX or (status == codes.NOT_FOUND and self._method == "DELETE")

    def _start(self, node: Device, index: int) -> bool:
        placement, writer = self._placement, self._writer
        request = BackendRequest(self._method, node, placement.partition, placement.path, self._headers[index])
        body = b"" if self._bodies is None else self._bodies[index]
        try:
            exchange = writer.transport.start(request, body, writer.timeout_seconds)
        except NodeFailure:
            writer.nodes.record_failure(node)
            return False
        self._index_of[exchange] = index
        self._pending.append(exchange)
        return True

    def _start_handoff(self, index: int) -> bool:
        if self._handoffs is None:
            self._handoffs = self._writer.nodes.handoffs(self._placement)
        return any(self._start(node, index) for node in self._handoffs)

    def _replace(self, exchange: Exchange) -> bool:
        return self._start_handoff(self._index_of[exchange])


def send_body(
    writer: Writer, command: PutObject, content: bytes, scheme: Scheme, placement: Placement, headers: Sequence[Headers]
) -> tuple[str, Mapping[Algorithm, str], QuorumResult]:
    """PUT a body that is at hand: checksums go ahead of it, all in one message to each node. Raises CoreError.

    Gives the ETag and the checksums that are kept, too.
    """
    digest = digest_of(command)
    digest.update(content)
    etag, kept = digest.finish()
    encoder = scheme.encoder(range(len(headers)) if scheme.code is None else placement.numbers)
    pieces = encoder.encode(content)
    encoder.checksum(pieces)
    if tail := encoder.flush():
        encoder.checksum(tail)
        pieces = [bytes(piece) + end for piece, end in zip(pieces, tail, strict=True)] if pieces else tail
    stored = digest.headers(etag, kept)
    if scheme.code is not None:
        add_fragments(headers, placement.numbers, scheme.code)
        stored |= whole_size(len(content))
    for each, checksum in zip(headers, encoder.checksums(), strict=True):
        each.update(proof(etag, checksum))
        each.update(stored)
    return etag, kept, writer.send("PUT", placement, headers, [bytes(piece) for piece in pieces])


def receive(command: PutObject) -> tuple[bytes, bool]:
    """The whole body if it is small, else what had to be received to learn that. Raises CoreError."""
    length, body = command.length, command.body
    if length is None:
        if command.ask_first:
            return b"", False
        content = _read_up_to(body, SMALL_BODY_MAX + 1)
        if len(content) > command.length_max:
            raise ObjectTooLarge(command.length_max)
        return content, len(content) <= SMALL_BODY_MAX
    if command.ask_first or length > SMALL_BODY_MAX:
        return b"", False
    content = body.read()  # also of nothing: there may be trailers, which refuse it
    if len(content) != length:
        raise IncompleteBody(length, len(content))
    return content, True


def _read_up_to(body: BodyReader, size: int) -> bytes:
    parts: list[bytes] = []
    while size > 0 and (part := body.read(size)):
        parts.append(part)
        size -= len(part)
    return b"".join(parts)
