"""Reads of containers of strong policies: a listing shows every write that was acknowledged before it began.

A write is acknowledged when its row is on a majority of the container's servers. One of them is asked for the listing
and, at the same time, others for a digest of their live rows, until a majority has answered. If the digests are
equal, the listing is that of all; so it is if the pages of a majority are equal, which are compared next. Else a
majority's rows of the range that the listing shows are merged.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import chain
from typing import Final, TypeVar

from msgspec import Struct

from objstore.container.merged_listing import MergedListing, Overlap
from objstore.container.row_pages import NAMES_MAX, RowPage
from objstore.container.rows import ContainerSchema
from objstore.db.listing import parse_query
from objstore.devices import Device
from objstore.http.bodies import BytesBody
from objstore.http.messages import Body
from objstore.http.transport import BackendRequest, BackendResponse, Exchange, NodeFailure, wait_any
from objstore.limits import Limits
from objstore.proxy.core.backend import codes
from objstore.proxy.core.backend import rows as backend
from objstore.proxy.core.backend.databases import listing_parameters, listing_query
from objstore.proxy.core.errors import ContainerNotFound, QuorumNotReached
from objstore.proxy.core.info import ContainerInfo
from objstore.proxy.core.listing import RENDERED_AS_ROWS, ListingQuery, VersionsQuery
from objstore.proxy.core.nodes import Placement, strict_placement
from objstore.proxy.core.reading import Reader
from objstore.rows import InvalidRows, ObjectRow
from objstore.system import concurrency
from objstore.system.threads import ThreadGroup

T = TypeVar("T")

# Replicas may differ by any number of rows, which are compared some thousands at a time.
MERGING_SECONDS_MAX: Final = 60.0
_ANYTHING: Final = VersionsQuery(limit="1")


class Question(Struct, frozen=True):
    """What one server is asked."""

    method: str
    query: str = ""
    body: bytes = b""


class ReplicaAnswer(Struct, frozen=True, eq=False):
    """What one server has answered to what."""

    question: Question
    response: BackendResponse
    replica: backend.ContainerReplica


class StrongContainers:
    """Reads containers of strong policies; one for each process."""

    def __init__(self, reader: Reader, limits: Limits, threads: ThreadGroup) -> None:
        self._reader: Final = reader
        self._limits: Final = limits
        self._threads: Final = threads
        self._schema: Final = ContainerSchema(limits)

    def head(self, placement: Placement, headers: Mapping[str, str]) -> ContainerInfo:
        """The container as a majority knows it. Raises CoreError."""
        answers = self._majority(placement, headers, Question("HEAD"), Question("HEAD"))
        return self._info(placement, headers, answers)

    def open(
        self, placement: Placement, headers: Mapping[str, str], query: ListingQuery, rendering: str
    ) -> tuple[ContainerInfo, bytes | Body]:
        """The container as a majority knows it, and its listing as servers render it. Raises CoreError."""
        page = Question("GET", listing_query(query, rendering))
        answers = self._majority(placement, headers, page, Question("HEAD"))
        listed = next((each for each in answers if each.question.method == "GET" and each.replica.is_there), None)
        try:
            info = self._info(placement, headers, answers)
            if listed is not None and listed.replica.digest and len({each.replica.digest for each in answers}) == 1:
                answers.remove(listed)
                body = listed.response.body
                return info, body.read() if isinstance(body, BytesBody) else body
        finally:
            for each in answers:
                each.response.close()
        # Rows on their way have come meanwhile. What rolls up may stand for other names on each page.
        if query.delimiter is None and query.path is None:
            first, *others = self._all(placement, headers, page, backend.listing_of)
            if first is not None and all(each == first for each in others):
                return info, first
        merged = self._merge(placement, headers, query, rendering, info.policy_index)
        arguments = placement.path.container, info.policy_index, self._schema
        return info, self._threads.call(merged.render, *arguments)

    def _info(self, placement: Placement, headers: Mapping[str, str], answers: list[ReplicaAnswer]) -> ContainerInfo:
        """Raises CoreError."""
        there = [each.response for each in answers if each.replica.is_there]
        if not there:
            raise ContainerNotFound(placement.path)
        info = backend.newest_info(there)
        replicas = [each.replica for each in answers]
        is_deleted = max(each.deleted_at for each in replicas) > max(each.put_at for each in replicas)
        # Objects that turn up after its deletion bring it back.
        if is_deleted and self._merge(placement, headers, _ANYTHING, RENDERED_AS_ROWS, info.policy_index).is_empty:
            raise ContainerNotFound(placement.path)
        return info

    def _merge(
        self, placement: Placement, headers: Mapping[str, str], query: ListingQuery, rendering: str, policy_index: int
    ) -> MergedListing:
        """What a majority of the replicas has in the range that a listing shows. Raises CoreError."""
        asked = backend.rows_headers(headers, policy_index)
        parameters = listing_parameters(query, rendering)
        parsed = parse_query(parameters, self._limits.container_listing_limit, backend.sees_reserved(headers))
        merged = MergedListing(parsed)
        if isinstance(query, VersionsQuery):
            merged = MergedListing(parsed, versions=True, version_marker=query.version_marker or "")
        deadline = concurrency.monotonic() + MERGING_SECONDS_MAX
        while not merged.complete:
            if concurrency.monotonic() > deadline:
                raise QuorumNotReached(placement.path)
            question = Question("GET", backend.page_query(query, rendering, merged.wanted()))
            pages: list[RowPage] = self._all(placement, asked, question, backend.page_of)
            overlap: Overlap = self._threads.call(merged.compare, pages)
            known: list[ObjectRow] = []
            for start in range(0, len(overlap.contested), NAMES_MAX):
                names = backend.names_body(overlap.contested[start : start + NAMES_MAX])
                for rows in self._all(placement, asked, Question(codes.ROWS, body=names), backend.rows_of):
                    known += rows
            self._threads.call(merged.add, overlap, known)
        return merged

    def _all(
        self,
        placement: Placement,
        headers: Mapping[str, str],
        question: Question,
        meaning: Callable[[BackendResponse], T],
    ) -> list[T]:
        """What a majority answers. Raises QuorumNotReached."""
        try:
            return [meaning(each.response) for each in self._majority(placement, headers, question, question)]
        except (NodeFailure, InvalidRows, ValueError) as error:
            raise QuorumNotReached(placement.path) from error

    def _majority(
        self, placement: Placement, headers: Mapping[str, str], first: Question, others: Question
    ) -> list[ReplicaAnswer]:
        """The answers of a majority, one to the first question if that can be. Raises QuorumNotReached."""
        answers = MajorityPoll(self._reader, strict_placement(placement), headers, first, others).run()
        if not answers:
            raise QuorumNotReached(placement.path)
        return answers


class MajorityPoll:
    """One of the servers is asked one thing, and others another, until a majority has answered."""

    __slots__ = ("_answers", "_first", "_headers", "_others", "_pending", "_placement", "_reader", "_slow", "_spares")

    def __init__(
        self, reader: Reader, placement: Placement, headers: Mapping[str, str], first: Question, others: Question
    ) -> None:
        """`placement` is strict."""
        self._reader = reader
        self._placement = placement
        self._headers = headers
        self._first = first
        self._others = others
        nodes = reader.nodes
        self._spares = chain(nodes.for_reading(placement), nodes.error_limited_primaries(placement))
        self._pending: dict[Exchange, Question] = {}
        self._slow: set[Exchange] = set()
        self._answers: list[ReplicaAnswer] = []

    def run(self) -> list[ReplicaAnswer]:
        """At least a quorum of answers, or none. Never raises."""
        reader, quorum = self._reader, self._placement.quorum
        for _ in range(quorum):
            self._ask_next()
        deadline = concurrency.monotonic() + reader.timeout_seconds
        while self._pending and len(self._answers) < quorum:
            left = deadline - concurrency.monotonic()
            ready = wait_any(list(self._pending), min(left, reader.patience_seconds))
            for exchange in ready:
                self._take(exchange, self._pending.pop(exchange))
            if not ready:
                self._slow.update(self._pending)
                if not self._ask_next() and left <= reader.patience_seconds:
                    break
        for exchange in self._pending:
            exchange.abandon()
            if exchange in self._slow:
                reader.nodes.record_failure(exchange.node)
        if len(self._answers) >= quorum:
            return self._answers
        for each in self._answers:
            each.response.close()
        return []

    def _ask_next(self) -> bool:
        """Ask another server; whether there is one left."""
        return any(self._ask(node) for node in self._spares)

    def _ask(self, node: Device) -> bool:
        placement, reader = self._placement, self._reader
        asked = [*self._pending.values(), *(each.question for each in self._answers)]
        question = self._others if self._first in asked else self._first
        request = BackendRequest(
            question.method, node, placement.partition, placement.path, self._headers, question.query
        )
        try:
            exchange = reader.transport.start(request, question.body, reader.timeout_seconds)
        except NodeFailure:
            reader.nodes.record_failure(node)
            return False
        self._pending[exchange] = question
        return True

    def _take(self, exchange: Exchange, question: Question) -> None:
        response = self._reader.answer_of(exchange)
        if response is not None and (response.status <= codes.SUCCESS_MAX or response.status == codes.NOT_FOUND):
            self._answers.append(ReplicaAnswer(question, response, backend.replica_of(response)))
            return
        if response is not None:  # it refuses what others may not
            response.close()
        self._ask_next()
