"""Bodies on their way to the reader, which go on with another replica when one breaks off."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from msgspec import Struct

from objstore.devices import Device
from objstore.http.messages import Body
from objstore.http.ranges import ByteRange
from objstore.http.sockets import SEND_TIMEOUT_SECONDS, Connection
from objstore.http.transport import BackendBody, BackendResponse, NodeFailure
from objstore.proxy.core.backend import codes
from objstore.proxy.core.backend.objects import given_range, identity, rest_headers
from objstore.proxy.core.errors import BodyBrokenOff
from objstore.proxy.core.info import StoredObjectInfo
from objstore.proxy.core.nodes import Placement
from objstore.proxy.core.reading import Reader

RESUMPTIONS_MAX: Final = 8


class OpenedObject(Struct, frozen=True):
    """An object and its body, to be read or closed.

    part: the range of a body that is not the whole. parts: several ranges and their bodies, beside an empty `body`.
    """

    info: StoredObjectInfo
    body: bytes | Body
    part: ByteRange | None = None
    parts: tuple[tuple[ByteRange, Body], ...] = ()

    @property
    def length(self) -> int | None:
        """How many bytes the body has; None if that is not known."""
        return len(self.body) if isinstance(self.body, bytes) else self.body.length

    def close(self) -> None:
        """Let go of what has not been read."""
        if not isinstance(self.body, bytes):
            self.body.close()
        for _, body in self.parts:
            body.close()


class Source:
    """The very bytes of one object: any replica that holds the same ones can give them."""

    def __init__(
        self, reader: Reader, placement: Placement, headers: Mapping[str, str], found: BackendResponse
    ) -> None:
        """`headers` are those of the request that `found` answers."""
        self._reader = reader
        self._placement = placement
        self._headers = headers
        self._identity = identity(found)

    def open(self, wanted: ByteRange) -> BackendBody:
        """A body of these bytes. Raises BodyBrokenOff if no replica has them."""
        headers = rest_headers(self._headers, wanted)
        reader, placement = self._reader, self._placement
        nodes = reader.nodes
        for candidates in (nodes.for_reading(placement), nodes.error_limited_primaries(placement)):
            for node in candidates:
                response = reader.ask("GET", node, placement, headers)
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
        answer = self._reader.ask("HEAD", node, self._placement, rest_headers(self._headers, None))
        if answer is None:
            return True
        answer.close()
        return answer.status <= codes.SUCCESS_MAX and identity(answer) == self._identity

    def failed(self, failure: NodeFailure) -> None:
        self._reader.nodes.record_failure(failure.node)

    def _fits(self, response: BackendResponse, wanted: ByteRange) -> bool:
        return given_range(response) == wanted and identity(response) == self._identity


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
