"""Bodies as they come in over a connection: of requests, which clients send, and of responses of storage servers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final, TypeVar

from objstore.http.bodies import NOTHING, ByteStream
from objstore.http.chunked import BadFraming, ChunkedDecoder
from objstore.system import concurrency

if TYPE_CHECKING:
    from objstore.http.sockets import Connection

READ_SIZE: Final = 65536
DRAIN_MAX: Final = 65536  # what is left of a body that nobody read is skipped up to here, else the connection ends
CHUNK_BYTES: Final = 262144

A = TypeVar("A")
R = TypeVar("R", bound=bytes | int)


class Patience:
    """How much longer the receiver of a body waits for its sender.

    Waiting uses it up, and what comes restores it: a sender may pause for `seconds`, and may not be slower than
    `bytes_per_second` for long. With a rate of 0 any progress restores all of it.
    """

    __slots__ = ("_bytes_per_second", "_seconds", "left")

    def __init__(self, seconds: float, bytes_per_second: int = 0) -> None:
        self._seconds = self.left = seconds
        self._bytes_per_second = bytes_per_second

    def spend(self, seconds: float, received: int) -> None:
        """So many bytes have come within so many seconds."""
        if received and not self._bytes_per_second:
            self.left = self._seconds
            return
        restored = received / self._bytes_per_second if received else 0.0
        self.left = min(self._seconds, self.left - seconds + restored)


class ReceivedBody(ByteStream):
    """A body that is read from its connection.

    The body of a response is given `release`: what to do with the connection when all of the body has been read. If
    reading fails, or the body is closed before its end, the connection is closed: where the next message
    begins is not known.
    """

    __slots__ = ("_connection", "_continue", "_failed", "_patience", "_release", "timeout_seconds")

    def __init__(
        self,
        connection: Connection,
        length: int | None,
        timeout_seconds: float,
        expects: bool,
        release: Callable[[], None] | None,
        bytes_per_second_min: int,
    ) -> None:
        """`expects`: the peer waits for 100 Continue before it sends the body. One that is too slow has stalled."""
        super().__init__(length)
        self._connection = connection
        self._continue = expects
        self._failed = False  # reading broke off
        self._release = release
        self._patience = Patience(timeout_seconds, bytes_per_second_min)
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

    def _receive_some(self, size: int) -> bytes:
        """What is there of the body on the wire. Raises the connection's errors."""
        part = self._await(self._connection.receive_some, size, None)
        assert part is not None
        return part

    def _receive_into(self, buffer: memoryview, deadline: float | None) -> int:
        """Fill the buffer, or as much of it as comes until the deadline. Raises the connection's errors."""
        filled = 0
        while filled < len(buffer):
            count = self._await(self._connection.receive_some_into, buffer[filled:], deadline)
            if count is None:
                break
            filled += count
        return filled

    def _await(self, receive: Callable[[A, float], R | None], what: A, deadline: float | None) -> R | None:
        """What `receive` gives; None once the deadline has passed. Raises if the peer is gone or too slow."""
        try:
            if self._continue:
                self._continue = False
                self._connection.send_continue()
            patience, begun = self._patience, concurrency.monotonic()
            seconds = patience.left if deadline is None else min(patience.left, deadline - begun)
            received = receive(what, max(0.0, seconds))
            count = received if isinstance(received, int) else len(received or b"")
            patience.spend(concurrency.monotonic() - begun, count)
            if received is None and (deadline is None or patience.left <= 0):
                raise self._connection.stalled()
            if received is not None and not count:
                raise self._connection.left()
        except BaseException:
            self._break_off()
            raise
        return received

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
        bytes_per_second_min: int = 0,
    ) -> None:
        super().__init__(connection, length, timeout_seconds, expects, release, bytes_per_second_min)
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
        part = self._receive_some(min(size, self.remaining))
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

    def readinto(self, buffer: memoryview, within_seconds: float | None = None) -> int:
        """Fill the buffer; less only at the end of the body, or when so many seconds have passed."""
        deadline = None if within_seconds is None else concurrency.monotonic() + within_seconds
        count = self._receive_into(buffer[: self.remaining], deadline)
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
        bytes_per_second_min: int = 0,
    ) -> None:
        super().__init__(connection, None, timeout_seconds, expects, release, bytes_per_second_min)
        self._decoder = ChunkedDecoder()

    @property
    def ended(self) -> bool:
        """Whether the last chunk and the trailers have been read."""
        return self._decoder.ended and not self._ready

    @property
    def drainable(self) -> bool:
        """Whether the rest may be skipped, and the connection used again."""
        return not self._continue and not self._failed

    def _advance(self, deadline: float | None = None) -> bool:
        decoder, connection = self._decoder, self._connection
        while not self._ready:
            if decoder.ended:
                self._end()
                return False
            wire = self._await(connection.receive_some, READ_SIZE, deadline)
            if wire is None:
                return False
            try:
                content, used = decoder.feed(wire)
            except BadFraming as error:
                self._break_off()
                raise connection.malformed(error) from None
            if used < len(wire):
                connection.push_back(wire[used:])
            self.trailers = decoder.trailers
            self._ready = memoryview(content)
        return True

    def _used_up(self) -> None:
        if self._release is not None and self._decoder.ended:
            self._end()

    def readinto(self, buffer: memoryview, within_seconds: float | None = None) -> int:
        """Fill the buffer; less only at the end of the body, or when so many seconds have passed."""
        deadline = None if within_seconds is None else concurrency.monotonic() + within_seconds
        filled = 0
        while filled < len(buffer):
            direct = self._decoder.chunk_left if not self._ready else 0
            if direct > READ_SIZE and not self._connection.buffered:
                # A large chunk goes from the socket straight to where it is wanted.
                target = buffer[filled : filled + direct]
                count = self._receive_into(target, deadline)
                self._decoder.skip(count)
                filled += count
                if count < len(target):
                    break
                continue
            if not self._advance(deadline):
                break
            filled += self._give(buffer[filled:])
        return filled

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
