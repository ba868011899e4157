"""Uploads too large to be held: asked for leave first, then sent chunk by chunk to all nodes at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from objstore.devices import Device
from objstore.http.transport import BackendRequest, BackendResponse, Exchange, NodeFailure, Upload, wait_any
from objstore.proxy.core.container_update_fallback import reassign_container_updates
from objstore.proxy.core.nodes import Placement
from objstore.proxy.core.put_outcome import put_status
from objstore.proxy.core.put_states import PutEvent, PutState, after
from objstore.proxy.core.quorum_request import UNANSWERED, QuorumResult, ResponseCollector, Writer
from objstore.scheme import Piece
from objstore.system import concurrency


class Streaming:
    """One object on its way to its nodes.

    Nodes that fail or are slow are dropped as long as a quorum stays. Each step answers whether one does; if not,
    `answers` says why, and nothing has been acknowledged.
    """

    def __init__(
        self, writer: Writer, place: Placement, headers: Sequence[Mapping[str, str]], quorum: int, length: int | None
    ) -> None:
        """`headers[i]` go to the i-th node; `length` is a hint."""
        self._writer = writer
        self._place = place
        self._headers = headers
        self._length = length
        self._uploads: dict[int, Upload] = {}  # by index: those that want the body
        self._spares: Iterator[Device] = iter(())
        self.answers = QuorumResult(quorum)
        self.state = PutState.CONNECTING

    def open(self) -> bool:
        """Ask the nodes for leave to send the body, stand-ins for those that fail."""
        nodes, self._spares = self._writer.nodes.for_writing(self._place)
        pending: dict[Exchange, int] = {}
        for index in range(len(self._headers)):
            if not (index < len(nodes) and self._start(nodes[index], index, pending)):
                self._start_spare(index, pending)
        deadline = concurrency.monotonic() + self._writer.timeout_seconds
        while pending:
            ready = wait_any(list(pending), deadline - concurrency.monotonic())
            for upload in ready:
                self._on_continue(upload, pending.pop(upload), pending)
            if not ready:
                break
            if len(self._uploads) >= self.answers.quorum:
                deadline = min(deadline, concurrency.monotonic() + self._writer.post_quorum_timeout_seconds)
        for exchange in pending:
            self._drop(exchange)
        return self._advance(PutEvent.CONTINUED)

    def _start(self, node: Device, index: int, pending: dict[Exchange, int]) -> bool:
        place, writer = self._place, self._writer
        request = BackendRequest("PUT", node, place.partition, place.path, self._headers[index])
        try:
            pending[writer.transport.start_upload(request, self._length, writer.timeout_seconds)] = index
        except NodeFailure:
            writer.nodes.record_failure(node)
            return False
        return True

    def _start_spare(self, index: int, pending: dict[Exchange, int]) -> None:
        if not any(self._start(node, index, pending) for node in self._spares):
            self.answers.statuses.append(UNANSWERED)

    def _on_continue(self, upload: Exchange, index: int, pending: dict[Exchange, int]) -> None:
        """A node lets us send, or says why not."""
        assert isinstance(upload, Upload)
        try:
            refusal = upload.expect()
        except NodeFailure:
            self._writer.nodes.record_failure(upload.node)
            self._start_spare(index, pending)
            return
        if refusal is None:
            self._uploads[index] = upload
        elif refusal.status >= 500:
            refusal.close()
            self._writer.nodes.record_error(upload.node, refusal)
            self._start_spare(index, pending)
        else:
            self._refused(refusal)

    def _refused(self, refusal: BackendResponse) -> None:
        refusal.close()
        self.answers.statuses.append(refusal.status)
        self.answers.responses.append(refusal)

    def _drop(self, exchange: Exchange) -> None:
        """Go on without a node that failed or is too slow."""
        exchange.abandon()
        self._writer.nodes.record_failure(exchange.node)
        self.answers.statuses.append(UNANSWERED)

    def _advance(self, event: PutEvent) -> bool:
        """Whether a quorum is left for what comes next."""
        if len(self._uploads) >= self.answers.quorum:
            self.state = after(self.state, event)
            return True
        self.state = after(self.state, PutEvent.LOST_QUORUM)
        self._abandon_all()
        return False

    def send(self, pieces: Sequence[Piece]) -> bool:
        """Send each node its piece of a chunk; pieces must stay unchanged until the next call returns."""
        self._each(lambda index, upload: upload.write(pieces[index]))
        if len(self._uploads) >= self.answers.quorum:
            return True
        return self._advance(PutEvent.LOST_QUORUM)

    def finish(self, trailers: Sequence[Mapping[str, str]]) -> bool:
        """End the body, and gather what the nodes say of it."""
        self._each(lambda index, upload: upload.finish(trailers[index]))
        if not self._advance(PutEvent.BODY_ENDED):
            return False
        gathering = ResponseCollector(self._writer, self.answers)
        for upload in self._uploads.values():
            gathering.add(upload)
        gathering.gather()
        done = {
            index: each.node for index, each in self._uploads.items() if gathering.taken.get(each, UNANSWERED) < 300
        }
        if len(done) >= self.answers.quorum:
            reassign_container_updates(self._writer, self._place, self._headers, done)
        stored = put_status(self.answers.statuses, self.answers.quorum) < 300
        self.state = after(self.state, PutEvent.STORED if stored else PutEvent.LOST_QUORUM)
        return stored

    def _each(self, act: Callable[[int, Upload], None]) -> None:
        for index, upload in list(self._uploads.items()):
            try:
                act(index, upload)
            except NodeFailure:
                del self._uploads[index]
                self._drop(upload)

    def give_up(self) -> None:
        """The client has failed: let the nodes keep nothing. Does nothing once the body has ended, or all is lost."""
        if self.state in (PutState.CONNECTING, PutState.SENDING):
            self.state = after(self.state, PutEvent.CLIENT_FAILED)
            self._abandon_all()

    def _abandon_all(self) -> None:
        for upload in self._uploads.values():
            upload.abandon()
        self._uploads.clear()
