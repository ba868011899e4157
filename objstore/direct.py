"""Requests of daemons straight to the storage servers of a path, without a proxy in between."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Final, Protocol
from urllib.parse import quote

import msgspec
from msgspec import Struct

from objstore.devices import Device
from objstore.erasure import ErasureCode, Piece, PieceDamaged
from objstore.headers import Backend, Client, Sysmeta
from objstore.http.bodies import IterableBody
from objstore.http.transport import BackendRequest, BackendResponse, Exchange, NodeFailure, Transport
from objstore.paths import PathHasher, ResourcePath
from objstore.quorum import best_status, quorum_size

PAGE_NAMES: Final = 1000
LISTING_BYTES_MAX: Final = 64 * 1024 * 1024
Headers = Mapping[str, str]


class RingView(Protocol):
    """The part of a ring that is needed here."""

    def partition_of(self, digest: bytes) -> int: ...

    def primaries(self, partition: int) -> tuple[Device, ...]: ...

    def handoffs(self, partition: int) -> Iterator[Device]: ...


class NodeResponse(Struct, frozen=True):
    """What one primary answered; 503 when it did not."""

    node: Device
    status: int
    headers: dict[str, str]


class NodeResponses(Struct, frozen=True):
    """What all primaries of a path answered."""

    replies: tuple[NodeResponse, ...]

    @property
    def statuses(self) -> list[int]:
        return [reply.status for reply in self.replies]

    @property
    def quorum(self) -> int:
        return quorum_size(len(self.replies))

    @property
    def answered(self) -> int:
        """How many primaries have answered; one that failed says nothing of the resource."""
        return sum(status < 500 for status in self.statuses)

    @property
    def best(self) -> int:
        """The status that a quorum agrees on, 503 if there is none. A 404 beside a 204 counts as deleted."""
        return best_status(self.statuses, self.quorum, {404: 204})

    def with_status(self, status_class: int) -> list[NodeResponse]:
        """The responses of a class (2 for 2xx)."""
        return [reply for reply in self.replies if reply.status // 100 == status_class]


class Page(Struct, frozen=True):
    """Up to PAGE_NAMES entries of a listing, as JSON shows them, and the policy of the container that lists them.

    is_lockable: versions of its objects can be locked.
    """

    policy_index: int
    entries: list[dict[str, Any]]
    is_lockable: bool = False


class Direct:
    def __init__(self, transport: Transport, hasher: PathHasher, timeout_seconds: float) -> None:
        self._transport = transport
        self._hasher = hasher
        self.timeout_seconds = timeout_seconds

    def primaries(self, ring: RingView, path: ResourcePath) -> tuple[int, tuple[Device, ...]]:
        """The partition of a path, and the devices that should hold it."""
        partition = ring.partition_of(self._hasher.digest(path))
        return partition, ring.primaries(partition)

    def send(
        self,
        ring: RingView,
        method: str,
        path: ResourcePath,
        headers: Headers,
        body: bytes = b"",
        each: Callable[[int], Headers] | None = None,
    ) -> NodeResponses:
        """Send a request to every primary and wait for all; `each` gives further headers to the nth of them."""
        partition, nodes = self.primaries(ring, path)
        return self._send(partition, nodes, method, path, headers, body, each)

    def ask_widely(self, ring: RingView, method: str, path: ResourcePath, headers: Headers) -> NodeResponses:
        """Send a request to every primary, and to as many handoffs: nothing is stored farther away."""
        partition, nodes = self.primaries(ring, path)
        return self._send(
            partition, (*nodes, *islice(ring.handoffs(partition), len(nodes))), method, path, headers, b"", None
        )

    def _send(
        self,
        partition: int,
        nodes: Sequence[Device],
        method: str,
        path: ResourcePath,
        headers: Headers,
        body: bytes,
        each: Callable[[int], Headers] | None,
    ) -> NodeResponses:
        exchanges: list[tuple[Device, Exchange | None]] = []
        for number, node in enumerate(nodes):
            sent = {**headers, **each(number)} if each is not None else headers
            exchanges.append((node, self._start(BackendRequest(method, node, partition, path, sent), body)))
        return NodeResponses(tuple(_reply(node, exchange) for node, exchange in exchanges))

    def update(self, ring: RingView, path: ResourcePath, rows: bytes) -> NodeResponses:
        """Have the servers of an account or container merge rows."""
        headers = {Client.CONTENT_TYPE: "application/json", Backend.POLICY_INDEX: "0"}
        return self.send(ring, "UPDATE", path, headers, rows)

    def get(self, ring: RingView, path: ResourcePath, headers: Headers, query: str = "") -> BackendResponse | None:
        """The newest of the successful responses, None if there is none. The caller closes it.

        The body of an object that is stored as fragments is made of as many as are needed; None if these cannot be had.
        """
        partition, nodes = self.primaries(ring, path)
        requests = [BackendRequest("GET", node, partition, path, headers, query) for node in nodes]
        newest: BackendResponse | None = None
        for exchange in [self._start(request) for request in requests]:
            try:
                response = None if exchange is None else exchange.response()
            except NodeFailure:
                continue
            if response is None:
                continue
            if response.status // 100 == 2 and (newest is None or age_of(response) > age_of(newest)):
                response, newest = newest, response
            if response is not None:
                response.close()
        if newest is not None and Backend.FRAGMENT in newest.headers:
            newest.close()
            return self._made_whole(BackendRequest("GET", nodes[0], partition, path, headers), nodes, newest)
        return newest

    def _made_whole(
        self, request: BackendRequest, nodes: Sequence[Device], found: BackendResponse
    ) -> BackendResponse | None:
        """The object that an answer about a fragment is about."""
        code, size = ErasureCode.parse(found.headers[Backend.FRAGMENT]), int(found.headers[Backend.WHOLE_SIZE])
        written_at, fragments = found.headers[Backend.DATA_TIMESTAMP], dict[int, tuple[Device, BackendResponse]]()
        for place, node in enumerate(nodes):
            number = place % code.fragments
            if number in fragments or len(fragments) == code.data:
                continue
            wanted = {**request.headers, Backend.FRAGMENT: f"{written_at}#{number}"}
            exchange = self._start(BackendRequest("GET", node, request.partition, request.path, wanted))
            try:
                response = None if exchange is None else exchange.response()
            except NodeFailure:
                continue
            if response is not None and response.status == 200:
                fragments[number] = node, response
            elif response is not None:
                response.close()

        def close() -> None:
            for _, response in fragments.values():
                response.close()

        if len(fragments) < code.data:
            close()
            return None
        return BackendResponse(found.status, found.headers, IterableBody(_decoded(code, size, fragments), size, close))

    def page(
        self, ring: RingView, path: ResourcePath, marker: str = "", prefix: str = "", version_marker: str | None = None
    ) -> Page | None:
        """A page of a listing that follows `marker`, of the newest replica; None if none answers, or it is gone.

        With a version marker, which may be empty, it lists all versions.
        """
        query = f"format=json&limit={PAGE_NAMES}&marker={quote(marker, safe='')}&prefix={quote(prefix, safe='')}"
        if version_marker is not None:
            query += f"&versions=true&version_marker={version_marker}"
        response = self.get(ring, path, {Backend.ALLOW_RESERVED_NAMES: "true"}, query)
        if response is None:
            return None
        try:
            entries = msgspec.json.decode(response.read_all(LISTING_BYTES_MAX) or b"[]", type=list[dict[str, Any]])
        except (NodeFailure, ValueError):
            return None
        headers = response.headers
        return Page(int(headers.get(Backend.POLICY_INDEX, "0")), entries, bool(headers.get(Sysmeta.OBJECT_LOCK)))

    def pages(self, ring: RingView, path: ResourcePath, *, versions: bool = False) -> Iterator[Page]:
        """A listing, of all versions if asked for, page by page, as far as servers answer."""
        marker, version_marker = "", "" if versions else None
        while (page := self.page(ring, path, marker, version_marker=version_marker)) is not None and page.entries:
            yield page
            last = page.entries[-1]
            marker, version_marker = last["name"], last["version_id"] if versions else None

    def _start(self, request: BackendRequest, body: bytes = b"") -> Exchange | None:
        try:
            return self._transport.start(request, body, self.timeout_seconds)
        except NodeFailure:
            return None


def _decoded(code: ErasureCode, size: int, fragments: Mapping[int, tuple[Device, BackendResponse]]) -> Iterator[Piece]:
    """The bytes of an object. Raises NodeFailure."""
    for segment in range(code.segment_count(size)):
        length, pieces = code.segment_length(segment, size), dict[int, Piece]()
        for number, (node, response) in fragments.items():
            piece = memoryview(bytearray(code.piece_length(length)))
            if response.body.readinto(piece) < len(piece):
                raise NodeFailure(node, "the fragment ended early")
            try:
                code.check(piece, number, segment)
            except PieceDamaged as error:
                raise NodeFailure(node, str(error)) from error
            pieces[number] = piece
        yield from code.decode(pieces, length)


def age_of(response: BackendResponse) -> tuple[str, str]:
    """What makes one answer newer than another: when it was put, then the newest of its metadata."""
    headers = response.headers
    written = headers.get(Backend.PUT_TIMESTAMP) or headers.get(Backend.DATA_TIMESTAMP, "")
    return written, headers.get(Backend.TIMESTAMP, "")


def container_headers(partition: int, nodes: Sequence[Device]) -> Callable[[int], Headers]:
    """Headers that name to the nth object server the container server it is to update."""

    def of(number: int) -> Headers:
        node = nodes[number % len(nodes)]
        return {
            Backend.CONTAINER_HOST: node.address,
            Backend.CONTAINER_DEVICE: node.device,
            Backend.CONTAINER_PARTITION: str(partition),
        }

    return of


def account_headers(partition: int, nodes: Sequence[Device]) -> dict[str, str]:
    """Headers that name to container servers the account servers they are to update."""
    return {
        Backend.ACCOUNT_HOST: ",".join(node.address for node in nodes),
        Backend.ACCOUNT_DEVICE: ",".join(node.device for node in nodes),
        Backend.ACCOUNT_PARTITION: str(partition),
    }


def _reply(node: Device, exchange: Exchange | None) -> NodeResponse:
    if exchange is None:
        return NodeResponse(node, 503, {})
    try:
        response = exchange.response()
        response.close()
    except NodeFailure:
        return NodeResponse(node, 503, {})
    return NodeResponse(node, response.status, response.headers)
