"""Writes to the nodes of a place: one request to each, stand-ins for those who fail, and a quorum of answers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from objstore.devices import Device
from objstore.http.transport import BackendRequest, BackendResponse, Exchange, NodeFailure, Transport, wait_any
from objstore.proxy.core.container_update_fallback import reassign_container_updates
from objstore.proxy.core.nodes import NodeSelector, Placement
from objstore.quorum import has_quorum, quorum_size
from objstore.system import concurrency

UNANSWERED: Final = 503
# What changes something that must be there.
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
        place: Placement,
        headers: Sequence[Mapping[str, str]],
        bodies: Sequence[bytes] | None = None,
        query: str = "",
        quorum: int | None = None,
    ) -> QuorumResult:
        """Send a request to each primary, `headers[i]` and `bodies[i]` to the i-th, and gather the answers.

        Waits for all, but no longer than the post-quorum timeout once `quorum` of them (half, by default) agree.
        Never raises.
        """
        if quorum is None:
            quorum = quorum_size(len(headers))
        answers = QuorumRequest(self, method, place, headers, bodies, query, quorum).run()
        if method in CHANGING and 404 in answers.statuses and not _succeeded(answers):
            self._ask_others(method, place, headers[0], query, answers)
        return answers

    def _ask_others(
        self, method: str, place: Placement, headers: Mapping[str, str], query: str, answers: QuorumResult
    ) -> None:
        """Ask who may have what others have not: theirs is then the answer of a node that has not got it.

        What a new ring moves may still be where it was. What some have changed was there, so that a primary which
        was left alone for its failures may have it too, other than the handoff in its place.
        """
        others = self.nodes.former_primaries(place)
        if min(answers.statuses) < 300:
            others = [*others, *self.nodes.error_limited_primaries(place)]
        for node in others:
            request = BackendRequest(method, node, place.partition, place.path, headers, query)
            try:
                response = self.transport.request(request, b"", self.timeout_seconds)
            except NodeFailure:
                self.nodes.record_failure(node)
                continue
            response.close()
            if response.status < 300 and 404 in answers.statuses:
                answers.statuses[answers.statuses.index(404)] = response.status
                answers.responses.append(response)


class QuorumResult:
    """What the nodes said; a node that failed, with all who could stand in for it, counts as 503."""

    __slots__ = ("quorum", "responses", "statuses")

    def __init__(self, quorum: int) -> None:
        self.quorum = quorum
        self.statuses: list[int] = []
        self.responses: list[BackendResponse] = []  # closed: for their headers

    def header(self, status: int, name: str) -> str | None:
        """A header of the first answer with that status that has it."""
        for response in self.responses:
            if response.status == status and name in response.headers:
                return response.headers[name]
        return None


def _succeeded(answers: QuorumResult) -> bool:
    return sum(status < 300 for status in answers.statuses) >= answers.quorum


class ResponseCollector:
    """Takes the answers of exchanges under way; nobody stands in for a node that fails."""

    def __init__(self, writer: Writer, answers: QuorumResult) -> None:
        self._writer: Final = writer
        self._pending: list[Exchange] = []
        self.answers: Final = answers
        self.taken: Final[dict[Exchange, int]] = {}  # statuses below 500

    def add(self, exchange: Exchange) -> None:
        """One more answer to wait for."""
        self._pending.append(exchange)

    def gather(self) -> QuorumResult:
        """Wait for the answers: all of them or, after a quorum, those that come soon."""
        pending, grace = self._pending, self._writer.post_quorum_timeout_seconds
        # Nearly always all answer at about the same time: to take them in turn saves looking at the others.
        while pending:
            exchange = pending[0]
            if not wait_any((exchange,), grace):
                self._gather_late()
                break
            del pending[0]
            self._take(exchange)
        return self.answers

    def _gather_late(self) -> None:
        """One has let us wait for as long as the post-quorum timeout."""
        pending, writer = self._pending, self._writer
        deadline = concurrency.monotonic() + writer.timeout_seconds
        grace = 0.0  # a quorum that stands by now has waited long enough
        self._take_all([exchange for exchange in pending if exchange.ready])
        while pending and not has_quorum(self.answers.statuses, self.answers.quorum):
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
            self.answers.statuses.append(UNANSWERED)
        pending.clear()

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
            if response.status < 500:
                self.answers.statuses.append(response.status)
                self.answers.responses.append(response)
                self.taken[exchange] = response.status
                return
            nodes.record_error(exchange.node, response)
        if not self._replace(exchange):
            self.answers.statuses.append(UNANSWERED)

    def _replace(self, exchange: Exchange) -> bool:
        """Whether another node has been asked instead."""
        return False


class QuorumRequest(ResponseCollector):
    """One whole request to each node of a place."""

    def __init__(
        self,
        writer: Writer,
        method: str,
        place: Placement,
        headers: Sequence[Mapping[str, str]],
        bodies: Sequence[bytes] | None,
        query: str,
        quorum: int,
    ) -> None:
        super().__init__(writer, QuorumResult(quorum))
        self._method: Final = method
        self._place: Final = place
        self._headers: Final = headers
        self._bodies: Final = bodies
        self._query: Final = query
        self._index_of: dict[Exchange, int] = {}
        self._spares: Iterator[Device] = iter(())

    def run(self) -> QuorumResult:
        """Send and gather."""
        nodes, self._spares = self._writer.nodes.for_writing(self._place)
        for index in range(len(self._headers)):
            if not (index < len(nodes) and self._start(nodes[index], index)) and not self._start_spare(index):
                self.answers.statuses.append(UNANSWERED)
        self.gather()
        if max(self.answers.statuses, default=0) >= 300:
            self._stand_in()
        return self.answers

    def _stand_in(self) -> None:
        """Nodes that have written tell the containers of those that have not."""
        done = {
            self._index_of[exchange]: exchange.node for exchange, status in self.taken.items() if self._wrote(status)
        }
        if len(done) >= self.answers.quorum:
            reassign_container_updates(self._writer, self._place, self._headers, done)

    def _wrote(self, status: int) -> bool:
        # A tombstone is written whether there was an object or not.
        return status < 300 or (status == 404 and self._method == "DELETE")

    def _start(self, node: Device, index: int) -> bool:
        place, writer = self._place, self._writer
        request = BackendRequest(self._method, node, place.partition, place.path, self._headers[index], self._query)
        body = b"" if self._bodies is None else self._bodies[index]
        try:
            exchange = writer.transport.start(request, body, writer.timeout_seconds)
        except NodeFailure:
            writer.nodes.record_failure(node)
            return False
        self._index_of[exchange] = index
        self._pending.append(exchange)
        return True

    def _start_spare(self, index: int) -> bool:
        return any(self._start(node, index) for node in self._spares)

    def _replace(self, exchange: Exchange) -> bool:
        return self._start_spare(self._index_of[exchange])
