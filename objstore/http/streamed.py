"""The body of a storage server's answer, read from its connection."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

from objstore.devices import Device
from objstore.http.bodies import BadFraming, ChunkedBody, LengthBody
from objstore.http.pool import NodeConnection
from objstore.http.sockets import Connection
from objstore.http.transport import NodeFailure

CHUNK_BYTES: Final = 262144


class StreamedBody:
    """The body of an answer, read from its connection, which goes back to the pool at the end."""

    __slots__ = ("_body", "_buffer", "_connection", "_release", "length", "trailers")

    def __init__(
        self,
        connection: NodeConnection,
        body: LengthBody | ChunkedBody,
        length: int | None,
        release: Callable[[], None],
    ) -> None:
        self._connection = connection
        self._body = body
        self._release: Callable[[], None] | None = release
        self._buffer: memoryview | None = None
        self.length = length
        self.trailers: dict[str, str] = {}

    @property
    def node(self) -> Device:
        """Who sends it."""
        return self._connection.node

    def _guard(self, read: Callable[..., Any], argument: Any) -> Any:
        try:
            result = read(argument)
        except BadFraming as error:
            self.close()
            raise NodeFailure(self._connection.node, error.reason) from None
        except BaseException:
            self.close()
            raise
        if self._body.ended:
            self.trailers = self._body.trailers
            self.close()
        return result

    def read(self, size: int = -1) -> bytes:
        """See BodyReader; raises NodeFailure."""
        content: bytes = self._guard(self._body.read, size)
        return content

    def readinto(self, buffer: memoryview) -> int:
        """See BodyReader; raises NodeFailure."""
        count: int = self._guard(self._body.readinto, buffer)
        return count

    def __iter__(self) -> Iterator[bytes | memoryview]:
        if self._buffer is None:
            self._buffer = memoryview(bytearray(min(CHUNK_BYTES, self.length or CHUNK_BYTES)))
        while count := self.readinto(self._buffer):
            yield self._buffer[:count]

    def splice_to(self, connection: Connection, timeout_seconds: float) -> int:
        """Move the rest to another connection without copying it; returns how many bytes went over.

        Fewer than were left when the server broke off, or was silent for as long as any answer of its may take;
        `timeout_seconds` is for the other side. Chunked bodies and TLS cannot be spliced: nothing is moved.
        """
        body = self._body
        if not isinstance(body, LengthBody) or not connection.splices or not self._connection.splices:
            return 0
        moved = 0
        try:
            if self._connection.buffered:
                first = body.read(body.remaining)
                connection.send(first, timeout_seconds)
                moved = len(first)
            count = connection.splice_from(self._connection, body.remaining, timeout_seconds, body.timeout_seconds)
            body.remaining -= count
            return moved + count
        finally:
            self.close()

    def close(self) -> None:
        """Give the connection back if the body has been read, else close it."""
        release, self._release = self._release, None
        if release is not None:
            if self._body.ended:
                release()
            else:
                self._connection.close()
