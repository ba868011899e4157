"""Bodies as they come in over a connection: of requests, which clients send, and of responses of storage servers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final

from objstore.http.bodies import NOTHING, ByteStream
from objstore.http.chunked import BadFraming, ChunkedDecoder

if TYPE_CHECKING:
    from objstore.http.sockets import Connection

READ_SIZE: Final = 65536
DRAIN_MAX: Final = 65536  # what is left of a body that nobody read is skipped up to here, else the connection ends
CHUNK_BYTES: Final = 262144


class ReceivedBody(ByteStream):
    """A body that is read from its connection.

    The body of a response is given `release`: what to do with the connection when all of the body has been read. If
    reading fails, or the body is closed before its end, the connection is closed: where the next message
    begins is not known.
    """

    __slots__ = ("_connection", "_continue", "_failed", "_release", "timeout_seconds")

    def __init__(
        self,
        connection: Connection,
        length: int | None,
        timeout_seconds: float,
        expects: bool,
        release: Callable[[], None] | None,
    ) -> None:
        """`expects`: the peer waits for 100 Continue before it sends the body."""
        super().__init__(length)
        self._connection = connection
        self._continue = expects
        self._failed = False  # reading broke off
        self._release = release
        self.timeout_seconds = timeout_seconds

    @property
    def node(self) -> Any:
        """The storage server that sends it."""
        return getattr(self._connection, "node", None)

    def __iter__(self) -> Iterator[bytes | memoryview]:
        buffer = memoryview(bytearray(min(CHUNK_BYTES, self.length or CHUNK_BYTES)))
        while count := self.readinto(buffer):
            yield buffer[:count]

    def close(self) -> None:
        """Close the connection unless the body has been read to its end."""
        release, self._release = self._release, None
        if release is not None:
            self._connection.close()

    def _end(self) -> None:
        release, self._release = self._release, None
        if release is not None:
            release()

    def _break_off(self) -> None:
        self._failed = True
        self.close()


class LengthBody(ReceivedBody):
    """A body of announced length."""

    __slots__ = ("remaining",)

    def __init__(
        self,
        connection: Connection,
        length: int,
        timeout_seconds: float,
        expects: bool = False,
        release: Callable[[], None] | None = None,
    ) -> None:
        super().__init__(connection, length, timeout_seconds, expects, release)
        self.remaining = length

    @property
    def ended(self) -> bool:
        """Whether all of it has been read."""
        return self.remaining == 0

    @property
    def drainable(self) -> bool:
        """Whether so little is left that it may be skipped, and the connection used again."""
        return not self._continue and not self._failed and self.remaining <= DRAIN_MAX

    def _receive(self, size: int) -> bytes:
        try:
            if self._continue:
                self._continue = False
                self._connection.send_continue()
            part = self._connection.receive(min(size, self.remaining), self.timeout_seconds)
            if not part:
                raise self._connection.left()
        except BaseException:
            self._break_off()
            raise
        self.remaining -= len(part)
        if self._release is not None and self.remaining == 0:
            self._end()
        return part

    def read(self, size: int = -1) -> bytes:
        """Up to `size` bytes, b"" at the end; everything for -1."""
        if self.remaining == 0:
            return b""
        if size < 0:
            first = self._receive(self.remaining)
            if self.remaining == 0:
                return first
            parts = [first]
            while self.remaining:
                parts.append(self._receive(self.remaining))
            return b"".join(parts)
        return self._receive(size) if size else b""

    def readinto(self, buffer: memoryview) -> int:
        """Fill the buffer as far as the body goes; less only at its end."""
        wanted = min(len(buffer), self.remaining)
        if wanted == 0:
            return 0
        try:
            if self._continue:
                self._continue = False
                self._connection.send_continue()
            count = self._connection.receive_into(buffer[:wanted], self.timeout_seconds)
            if count < wanted:
                raise self._connection.left()
        except BaseException:
            self._break_off()
            raise
        self.remaining -= count
        if self._release is not None and self.remaining == 0:
            self._end()
        return count

    def splice_to(self, connection: Connection, timeout_seconds: float) -> int:
        """Move the rest to another connection without copying it; returns how many bytes went over.

        Fewer than were left when the peer broke off, or was silent for as long as any answer of its may take;
        `timeout_seconds` is for the other side. TLS cannot be spliced: nothing is moved.
        """
        if not connection.splices or not self._connection.splices:
            return 0
        moved = 0
        source, timeout = self._connection, self.timeout_seconds
        release, self._release = self._release, None  # of nothing before all has arrived on the other side
        try:
            if source.buffered:
                first = self.read(self.remaining)
                connection.send(first, timeout_seconds)
                moved = len(first)
            count = connection.splice_from(source, self.remaining, timeout_seconds, timeout)
            self.remaining -= count
            return moved + count
        finally:
            self._release = release
            if self.remaining == 0:
                self._end()
            else:
                self.close()

    def drain(self) -> bool:
        """Skip a short rest; False if the connection cannot be used any more."""
        if not self.drainable:
            return False
        while self.remaining:
            self._receive(READ_SIZE)
        return True


class ChunkedBody(ReceivedBody):
    """A chunked body with trailers (RFC 9112, section 7.1)."""

    __slots__ = ("_decoder",)

    def __init__(
        self,
        connection: Connection,
        timeout_seconds: float,
        expects: bool = False,
        release: Callable[[], None] | None = None,
    ) -> None:
        super().__init__(connection, None, timeout_seconds, expects, release)
        self._decoder = ChunkedDecoder()

    @property
    def ended(self) -> bool:
        """Whether the last chunk and the trailers have been read."""
        return self._decoder.ended and not self._ready

    @property
    def drainable(self) -> bool:
        """Whether the rest may be skipped, and the connection used again."""
        return not self._continue and not self._failed

    def _advance(self) -> bool:
        decoder, connection = self._decoder, self._connection
        while not self._ready:
            if decoder.ended:
                self._end()
                return False
            try:
                if self._continue:
                    self._continue = False
                    connection.send_continue()
                wire = connection.receive(READ_SIZE, self.timeout_seconds)
                if not wire:
                    raise connection.left()
                content, used = decoder.feed(wire)
            except BadFraming as error:
                self._break_off()
                raise connection.malformed(error) from None
            except BaseException:
                self._break_off()
                raise
            if used < len(wire):
                connection.push_back(wire[used:])
            self.trailers = decoder.trailers
            self._ready = memoryview(content)
        return True

    def _used_up(self) -> None:
        if self._release is not None and self._decoder.ended:
            self._end()

    def readinto(self, buffer: memoryview) -> int:
        """Fill the buffer as far as the body goes; less only at its end."""
        filled = 0
        while filled < len(buffer):
            direct = self._decoder.chunk_left if not self._ready else 0
            if direct > READ_SIZE and not self._connection.buffered:
                # A large chunk goes from the socket straight to where it is wanted.
                filled += self._receive_direct(buffer[filled : filled + direct])
                continue
            if not self._advance():
                break
            filled += self._give(buffer[filled:])
        return filled

    def _receive_direct(self, target: memoryview) -> int:
        try:
            count = self._connection.receive_into(target, self.timeout_seconds)
            if count < len(target):
                raise self._connection.left()
        except BaseException:
            self._break_off()
            raise
        self._decoder.skip(count)
        return count

    def drain(self) -> bool:
        """Skip a short rest; False if the connection cannot be used any more. Raises as reading does."""
        if not self.drainable:
            return False
        skipped = len(self._ready)
        self._ready = NOTHING
        while skipped <= DRAIN_MAX:
            if not self._advance():
                return True
            skipped += len(self._ready)
            self._ready = NOTHING
        return False
