"""Bodies of messages: one way to read them, wherever their bytes come from, and what can go wrong with them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Final

from objstore.http.chunked import BadFraming, ChunkedDecoder
from objstore.http.errors import HttpError

if TYPE_CHECKING:
    from objstore.devices import Device
    from objstore.http.sockets import Connection

__all__ = [
    "EMPTY_BODY",
    "BadFraming",
    "ByteStream",
    "BytesBody",
    "ChunkedBody",
    "ClientDisconnected",
    "ClientTimeout",
    "IterableBody",
    "LengthBody",
]

NOTHING: Final = memoryview(b"")
READ_SIZE: Final = 65536
DRAIN_MAX: Final = 65536  # what is left of a body that nobody read is skipped up to here, else the connection ends


@dataclass(eq=False)
class ClientDisconnected(HttpError):
    """The peer closed its connection before the end of the body."""

    message: ClassVar[str] = "the peer left before the end of the body"

    status: int = 499
    reason: str = "Client Disconnect"
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(eq=False)
class ClientTimeout(HttpError):
    """The peer sent nothing for too long."""

    message: ClassVar[str] = "the peer stalled"

    status: int = 408
    reason: str = "Request Timeout"
    headers: dict[str, str] = field(default_factory=dict)


class ByteStream:
    """Bytes that come in pieces, read in whatever portions the reader likes; a subclass says where they come from.

    `_ready` is what has come and is not read yet.
    """

    __slots__ = ("_ready", "length", "trailers")

    def __init__(self, length: int | None = None) -> None:
        """`length` is None when it was not announced."""
        self._ready: memoryview = NOTHING
        self.length = length
        self.trailers: dict[str, str] = {}

    def _advance(self) -> bool:
        """Have something ready, waiting for it if need be; False at the end."""
        raise NotImplementedError

    def _used_up(self) -> None:
        """All that was ready has been read: its memory may be used again."""

    def _take(self, size: int) -> memoryview:
        part = self._ready[:size]
        self._ready = self._ready[size:]
        return part

    def read(self, size: int = -1) -> bytes:
        """Up to `size` bytes, b"" at the end; everything for -1."""
        parts: list[bytes] = []
        while size and (size < 0 or not parts) and self._advance():
            parts.append(bytes(self._take(len(self._ready) if size < 0 else size)))
            if not self._ready:
                self._used_up()
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def readinto(self, buffer: memoryview) -> int:
        """Fill the buffer; less only at the end."""
        filled = 0
        while filled < len(buffer) and self._advance():
            filled += self._give(buffer[filled:])
        return filled

    def _give(self, buffer: memoryview) -> int:
        part = self._take(len(buffer))
        buffer[: len(part)] = part
        if not self._ready:
            self._used_up()
        return len(part)

    def __iter__(self) -> Iterator[bytes | memoryview]:
        while self._advance():
            part, self._ready = self._ready, NOTHING
            yield part
            self._used_up()

    def close(self) -> None:
        """Let go of it, read or not."""
        self._ready = NOTHING


class BytesBody(ByteStream):
    """A body that is at hand as a whole."""

    __slots__ = ("_content", "_position", "ended")
    drainable: ClassVar[bool] = True

    def __init__(self, content: bytes, trailers: dict[str, str] | None = None) -> None:
        self._content = content
        self._position = 0
        self.length = len(content)
        self.ended = not content  # whether all of it has been read
        self.trailers = {} if trailers is None else trailers

    def read(self, size: int = -1) -> bytes:
        """The next `size` bytes, or all that is left."""
        start = self._position
        if start == 0 and (size < 0 or size >= len(self._content)):
            self._position = len(self._content)
            self.ended = True
            return self._content
        end = len(self._content) if size < 0 else start + size
        part = self._content[start:end]
        self._position = start + len(part)
        self.ended = self._position >= len(self._content)
        return part

    def readinto(self, buffer: memoryview) -> int:
        """Fill the buffer with what is next."""
        part = self.read(len(buffer))
        buffer[: len(part)] = part
        return len(part)

    def __iter__(self) -> Iterator[bytes | memoryview]:
        part = self.read()
        if part:
            yield part

    def drain(self) -> bool:
        """Nothing is left on the connection."""
        return True

    def close(self) -> None:
        """Nothing is held."""


EMPTY_BODY: Final = BytesBody(b"")


class IterableBody(ByteStream):
    """A body that somebody makes piece by piece; closing it closes what makes it, if that can be closed."""

    __slots__ = ("_chunks", "_close", "node")

    def __init__(
        self,
        chunks: Iterable[bytes | memoryview],
        length: int | None = None,
        close: Callable[[], None] | None = None,
        node: Device | None = None,
    ) -> None:
        """`node` is the storage server that makes it."""
        super().__init__(length)
        self._chunks = iter(chunks)
        self._close = close
        self.node = node

    def _advance(self) -> bool:
        while not self._ready:
            chunk = next(self._chunks, None)
            if chunk is None:
                return False
            self._ready = memoryview(chunk)
        return True

    def close(self) -> None:
        """Tell the maker that no more is wanted."""
        self._ready = NOTHING
        self._chunks = iter(())
        close, self._close = self._close, None
        if close is not None:
            close()


class LengthBody:
    """A body of announced length, read from its connection."""

    __slots__ = ("_connection", "_continue", "_failed", "remaining", "timeout_seconds", "trailers")

    def __init__(self, connection: Connection, length: int, timeout_seconds: float, expects: bool = False) -> None:
        self._connection = connection
        self.remaining = length
        self.timeout_seconds = timeout_seconds
        self._continue = expects
        self._failed = False  # reading broke off: where the next message begins is not known any more
        self.trailers: dict[str, str] = {}

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
            self._failed = True
            raise
        self.remaining -= len(part)
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
            self._failed = True
            raise
        self.remaining -= count
        return count

    def drain(self) -> bool:
        """Skip a short rest; False if the connection cannot be used any more."""
        if not self.drainable:
            return False
        while self.remaining:
            self._receive(READ_SIZE)
        return True


class ChunkedBody(ByteStream):
    """A chunked body with trailers (RFC 9112, section 7.1), read from its connection."""

    __slots__ = ("_connection", "_continue", "_decoder", "_failed", "timeout_seconds")

    def __init__(self, connection: Connection, timeout_seconds: float, expects: bool = False) -> None:
        super().__init__()
        self._connection = connection
        self._decoder = ChunkedDecoder()
        self._continue = expects
        self._failed = False  # as in LengthBody
        self.timeout_seconds = timeout_seconds

    @property
    def ended(self) -> bool:
        """Whether the last chunk and the trailers have been read."""
        return self._decoder.ended and not self._ready

    @property
    def drainable(self) -> bool:
        """Whether the rest may be skipped, and the connection used again."""
        return not self._continue and not self._failed

    def _advance(self) -> bool:
        """Have some bytes ready; False at the end of the body."""
        decoder, connection = self._decoder, self._connection
        while not self._ready:
            if decoder.ended:
                return False
            try:
                if self._continue:
                    self._continue = False
                    connection.send_continue()
                wire = connection.receive(READ_SIZE, self.timeout_seconds)
                if not wire:
                    raise connection.left()
                content, used = decoder.feed(wire)
            except BaseException:
                self._failed = True
                raise
            if used < len(wire):
                connection.push_back(wire[used:])
            self.trailers = decoder.trailers
            self._ready = memoryview(content)
        return True

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
            self._failed = True
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
