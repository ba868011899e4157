"""Uploads too large to be held: each node is asked for leave first, then the body goes to all nodes at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Final

from objstore.checksums import Algorithm
from objstore.devices import Device
from objstore.erasure import Piece
from objstore.http.body_chunks import BodyChunks
from objstore.http.transport import BackendRequest, BackendUpload, Exchange, NodeFailure, wait_any
from objstore.limits import ObjectTooLarge
from objstore.proxy.core.backend import codes
from objstore.proxy.core.backend.fragments import add_fragments, expect_size, whole_size
from objstore.proxy.core.backend.objects import TRAILERS, Headers, proof
from objstore.proxy.core.checksums import PutDigest, digest_of
from objstore.proxy.core.container_update_fallback import reassign_container_updates
from objstore.proxy.core.errors import IncompleteBody
from objstore.proxy.core.nodes import Placement
from objstore.proxy.core.quorum_request import UNANSWERED, QuorumResult, ResponseCollector, Writer
from objstore.scheme import Encoder, Scheme
from objstore.system import concurrency
from objstore.system.concurrency import Task

if TYPE_CHECKING:
    from objstore.proxy.core.objects import PutObject
    from objstore.system.threads import ThreadGroup

NOTHING: Final[tuple[str, dict[Algorithm, str]]] = ("", {})


def upload(
    command: PutObject,
    begun: bytes,
    sending: StreamingUpload,
    encoder: Encoder,
    threads: ThreadGroup,
) -> tuple[str, dict[Algorithm, str]]:
    """Receive the body, of which `begun` is here already, and pass it on.

    Gives the ETag and the checksums that are kept, nothing if no quorum is left.

    Each chunk is hashed on a thread while it is sent and the next one comes in. Raises CoreError for what is the
    sender's fault: then the nodes keep nothing.
    """
    digest, total = digest_of(command), 0
    hashing: Task[None] | None = None
    with BodyChunks(command.body) as chunks:
        try:
            if not sending.open():
                return NOTHING
            for chunk in chain((begun,) if begun else (), chunks):
                total += len(chunk)
                if total > command.length_max:
                    raise ObjectTooLarge(command.length_max)
                pieces = encoder.encode(chunk)
                if hashing is not None:
                    hashing.wait()
                hashing = concurrency.spawn(threads.call, _hash, digest, encoder, chunk, pieces)
                if pieces and not sending.send(pieces):
                    return NOTHING
            if hashing is not None:
                hashing.wait()
            if tail := encoder.flush():
                threads.call(encoder.checksum, tail)
                if not sending.send(tail):
                    return NOTHING
            if command.length is not None and total != command.length:
                raise IncompleteBody(command.length, total)
            etag, kept = digest.finish()
            stored = digest.headers(etag, kept) | sending.size_headers(total)
            sending.finish([proof(etag, checksum) | stored for checksum in encoder.checksums()])
            return etag, kept
        finally:
            sending.give_up()
            if hashing is not None:
                hashing.wait()


def _hash(digest: PutDigest, encoder: Encoder, chunk: Piece, pieces: Sequence[Piece]) -> None:
    digest.update(chunk)
    encoder.checksum(pieces)


class StreamingUpload:
    """One object on its way to its nodes.

    Nodes that fail or are slow are dropped as long as a quorum stays. Each step returns whether one does; if not,
    `result` says why, and nothing has been acknowledged.
    """

    def __init__(
        self, writer: Writer, placement: Placement, headers: Sequence[Headers], length: int | None, scheme: Scheme
    ) -> None:
        """`headers[i]` go to the i-th node; `length` is a hint."""
        for each in headers:
            each.update(TRAILERS)
        self._code: Final = scheme.code
        if scheme.code is not None:
            add_fragments(headers, placement.numbers, scheme.code)
            expect_size(headers)
            length = None if length is None else scheme.code.fragment_length(length)
        self._writer = writer
        self._placement = placement
        self._headers = headers
        self._length = length
        self._uploads: dict[int, BackendUpload] = {}  # by index: nodes that want the body
        self._handoffs: Iterator[Device] = iter(())
        self._collector = ResponseCollector(writer, placement)

    @property
    def result(self) -> QuorumResult:
        return self._collector.result

    def size_headers(self, size: int) -> Headers:
        """What goes with the pieces of an object of that size."""
        return {} if self._code is None else whole_size(size)

    def open(self) -> bool:
        """Ask the nodes for leave to send the body, and handoffs in the place of those that fail."""
        nodes, self._handoffs = self._writer.nodes.for_writing(self._placement)
        pending: dict[Exchange, int] = {}
        for index in range(len(self._headers)):
            if not (index < len(nodes) and self._start(nodes[index], index, pending)):
                self._start_handoff(index, pending)
        deadline = concurrency.monotonic() + self._writer.timeout_seconds
        while pending:
            ready = wait_any(list(pending), deadline - concurrency.monotonic())
            for exchange in ready:
                self._on_continue(exchange, pending.pop(exchange), pending)
            if not ready:
                break
            if len(self._uploads) >= self.result.quorum:
                deadline = min(deadline, concurrency.monotonic() + self._writer.post_quorum_timeout_seconds)
        for exchange in pending:
            self._drop(exchange)
        return self._has_quorum()

    def _start(self, node: Device, index: int, pending: dict[Exchange, int]) -> bool:
        placement, writer = self._placement, self._writer
        request = BackendRequest("PUT", node, placement.partition, placement.path, self._headers[index])
        try:
            pending[writer.transport.start_upload(request, self._length, writer.timeout_seconds)] = index
        except NodeFailure:
            writer.nodes.record_failure(node)
            return False
        return True

    def _start_handoff(self, index: int, pending: dict[Exchange, int]) -> None:
        if not any(self._start(node, index, pending) for node in self._handoffs):
            self.result.statuses.append(UNANSWERED)

    def _on_continue(self, exchange: Exchange, index: int, pending: dict[Exchange, int]) -> None:
        """A node lets us send, or says why not."""
        assert isinstance(exchange, BackendUpload)
        try:
            refusal = exchange.expect()
        except NodeFailure:
            self._writer.nodes.record_failure(exchange.node)
            self._start_handoff(index, pending)
            return
        if refusal is None:
            self._uploads[index] = exchange
            return
        refusal.close()
        if refusal.status >= codes.SERVER_ERROR:
            self._writer.nodes.record_error(exchange.node, refusal)
            self._start_handoff(index, pending)
        else:
            self.result.statuses.append(refusal.status)
            self.result.responses.append(refusal)
            self.result.nodes.append(exchange.node)

    def _drop(self, exchange: Exchange) -> None:
        """Go on without a node that failed or is too slow."""
        exchange.abandon()
        self._writer.nodes.record_failure(exchange.node)
        self.result.statuses.append(UNANSWERED)

    def _has_quorum(self) -> bool:
        if len(self._uploads) >= self.result.quorum:
            return True
        self.give_up()
        return False

    def send(self, pieces: Sequence[Piece]) -> bool:
        """Send each node its piece of a chunk; pieces must stay unchanged until the next call returns."""
        self._each(lambda index, exchange: exchange.write(pieces[index]))
        return self._has_quorum()

    def finish(self, trailers: Sequence[Mapping[str, str]]) -> None:
        """End the body, and collect the nodes' answers."""
        self._each(lambda index, exchange: exchange.finish(trailers[index]))
        if not self._has_quorum():
            return
        sent, self._uploads = self._uploads, {}
        for exchange in sent.values():
            self._collector.add(exchange)
        self._collector.collect()
        taken = self._collector.taken
        stored = {
            index: exchange.node
            for index, exchange in sent.items()
            if taken.get(exchange, UNANSWERED) <= codes.SUCCESS_MAX
        }
        if len(stored) >= self.result.quorum and not self._placement.strict:
            reassign_container_updates(self._writer, self._placement, self._headers, stored)

    def _each(self, act: Callable[[int, BackendUpload], None]) -> None:
        for index, exchange in list(self._uploads.items()):
            try:
                act(index, exchange)
            except NodeFailure:
                del self._uploads[index]
                self._drop(exchange)

    def give_up(self) -> None:
        """Let the nodes that have not got the whole body keep nothing of it."""
        for exchange in self._uploads.values():
            exchange.abandon()
        self._uploads.clear()
