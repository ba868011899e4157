"""Bodies on their way to the client: they go on with another replica when one breaks off, or come in several parts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

from objstore.devices import Device
from objstore.errors import StoreError
from objstore.headers import Backend, Client
from objstore.http.ranges import ByteRange, parse_content_range
from objstore.http.sockets import SEND_TIMEOUT_SECONDS, Connection
from objstore.http.transport import BackendBody, BackendResponse, NodeFailure
from objstore.proxy.core.nodes import Placement
from objstore.proxy.core.reading import Reader

RESUMPTIONS_MAX: Final = 8
PART_END: Final = b"\r\n"
# What may change the answer must not be sent again: the rest of the same bytes is wanted.
_ONCE: Final = frozenset(
    (
        Client.RANGE,
        Client.IF_RANGE,
        Client.IF_MATCH,
        Client.IF_NONE_MATCH,
        Client.IF_MODIFIED_SINCE,
        Client.IF_UNMODIFIED_SINCE,
    )
)


@dataclass(eq=False)
class BodyBrokenOff(StoreError):
    """The client has part of a body, and no replica can give the rest."""

    message: ClassVar[str] = "no replica goes on at byte {position}"

    position: int


class Source:
    """The very bytes of one object: any replica that holds the same ones can give them."""

    def __init__(self, reader: Reader, place: Placement, headers: Mapping[str, str], found: BackendResponse) -> None:
        """`headers` are those of the request that `found` answers."""
        self._reader = reader
        self._place = place
        self._headers = {name: value for name, value in headers.items() if name not in _ONCE}
        self._identity = _identity(found)

    def open(self, wanted: ByteRange) -> BackendBody:
        """A body of these bytes. Raises BodyBrokenOff if no replica has them."""
        headers = {**self._headers, Client.RANGE: wanted.header}
        reader, place = self._reader, self._place
        nodes = reader.nodes
        for candidates in (nodes.for_reading(place), nodes.error_limited_primaries(place)):
            for node in candidates:
                response = reader.ask("GET", node, place, headers)
                if response is None:
                    continue
                if self._fits(response, wanted):
                    return response.body
                response.close()
        raise BodyBrokenOff(wanted.first)

    def stands_by(self, node: Device) -> bool:
        """Whether a node that broke off still has the object it gave part of.

        A server that finds a body damaged finds so at its end, sets it aside and breaks off: what it has sent must not
        be completed by another replica, and the client is better off with nothing. One that is silent has crashed.
        """
        answer = self._reader.ask("HEAD", node, self._place, self._headers)
        if answer is None:
            return True
        answer.close()
        return answer.status == 200 and _identity(answer) == self._identity

    def failed(self, failure: NodeFailure) -> None:
        """A node broke off."""
        self._reader.nodes.record_failure(failure.node)

    def _fits(self, response: BackendResponse, wanted: ByteRange) -> bool:
        if response.status != 206 or _identity(response) != self._identity:
            return False
        try:
            given, _ = parse_content_range(response.headers.get(Client.CONTENT_RANGE, ""))
        except ValueError:
            return False
        return given == wanted


def _identity(response: BackendResponse) -> tuple[str | None, str | None]:
    headers = response.headers
    # A POST changes the object's timestamp but not its data's.
    return headers.get(Client.ETAG), headers.get(Backend.DATA_TIMESTAMP) or headers.get(Client.TIMESTAMP)


class ResumingBody:
    """A range of an object that goes on with another replica when one breaks off.

    Raises BodyBrokenOff if no replica can go on: what has been sent cannot be taken back.
    """

    __slots__ = ("_at", "_body", "_left", "_opened_at", "_resumptions", "_source", "length")

    def __init__(self, body: BackendBody | None, wanted: ByteRange, source: Source) -> None:
        """Without a body one is opened when the first byte is asked for."""
        self._body = body
        self._at = self._opened_at = wanted.first
        self._left = wanted.length
        self._source = source
        self._resumptions = 0
        self.length: int | None = wanted.length

    def __iter__(self) -> Iterator[bytes | memoryview]:
        while self._left:
            body = self._open_body()
            try:
                for chunk in body:
                    self._advance(len(chunk))
                    yield chunk
            except NodeFailure as failure:
                self._source.failed(failure)
            self._broke_off()

    def send_to(self, connection: Connection) -> int:
        """Send all of it over a connection of the HTTP server's; returns how many bytes went."""
        wanted = self._left
        while self._left:
            body = self._open_body()
            splice = getattr(body, "splice_to", None)
            moved = splice(connection, SEND_TIMEOUT_SECONDS) if splice is not None else 0
            self._advance(moved)
            if not moved:
                self._copy_to(connection, body)
            self._broke_off()
        return wanted

    def _copy_to(self, connection: Connection, body: BackendBody) -> None:
        try:
            for chunk in body:
                connection.send(chunk, SEND_TIMEOUT_SECONDS)
                self._advance(len(chunk))
        except NodeFailure as failure:
            self._source.failed(failure)

    def _advance(self, count: int) -> None:
        self._at += count
        self._left -= count

    def _open_body(self) -> BackendBody:
        if self._body is None:
            self._body = self._source.open(ByteRange(self._at, self._at + self._left - 1))
            self._opened_at = self._at
        return self._body

    def _broke_off(self) -> None:
        """The body at hand has ended, early or not."""
        node: Device | None = getattr(self._body, "node", None)
        self.close()
        if self._left:
            if node is not None and self._at > self._opened_at and not self._source.stands_by(node):
                raise BodyBrokenOff(self._at)
            self._resumptions += 1
            if self._resumptions > RESUMPTIONS_MAX:
                raise BodyBrokenOff(self._at)

    def close(self) -> None:
        """Let go of what is left."""
        body, self._body = self._body, None
        if body is not None:
            body.close()


class MultipartBody:
    """Several ranges of one object as multipart/byteranges (RFC 9110, section 14.6)."""

    def __init__(
        self, ranges: Sequence[ByteRange], size: int, content_type: str, boundary: str, source: Source
    ) -> None:
        """`size` is the object's; each part is read when its turn comes."""
        self._parts: Final = [
            (_part_head(each, size, content_type, boundary), ResumingBody(None, each, source)) for each in ranges
        ]
        self._end: Final = f"--{boundary}--".encode()
        self.length: int | None = len(self._end) + sum(
            len(head) + each.length + len(PART_END) for (head, _), each in zip(self._parts, ranges, strict=True)
        )

    def __iter__(self) -> Iterator[bytes | memoryview]:
        for head, body in self._parts:
            yield head
            yield from body
            yield PART_END
        yield self._end

    def close(self) -> None:
        """Let go of the part being read."""
        for _, body in self._parts:
            body.close()


def _part_head(each: ByteRange, size: int, content_type: str, boundary: str) -> bytes:
    head = f"--{boundary}\r\nContent-Type: {content_type}\r\nContent-Range: {each.content_range(size)}\r\n\r\n"
    return head.encode("latin-1")
