"""Bodies of messages that come in over a connection, and what can go wrong with them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Final

from objstore.http.chunked import BadFraming, ChunkedDecoder
from objstore.http.errors import HttpError

if TYPE_CHECKING:
    from objstore.http.sockets import Connection

__all__ = [
    "EMPTY_BODY",
    "BadFraming",
    "BytesBody",
    "ChunkedBody",
    "ClientDisconnected",
    "ClientTimeout",
    "LengthBody",
]

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


class EmptyBody:
    """No body at all."""

    __slots__ = ()
    trailers: ClassVar[dict[str, str]] = {}
    ended: ClassVar[bool] = True
    drainable: ClassVar[bool] = True

    def read(self, size: int = -1) -> bytes:
        """Nothing."""
        return b""

    def readinto(self, buffer: memoryview) -> int:
        """Nothing."""
        return 0

    def drain(self) -> bool:
        """Nothing is left."""
        return True


EMPTY_BODY: Final = EmptyBody()


class BytesBody:
    """A body that is at hand as a whole."""

    __slots__ = ("_content", "_position", "trailers")

    def __init__(self, content: bytes, trailers: dict[str, str] | None = None) -> None:
        self._content = content
        self._position = 0
        self.trailers = {} if trailers is None else trailers

    @property
    def ended(self) -> bool:
        """Whether all of it has been read."""
        return self._position >= len(self._content)

    def read(self, size: int = -1) -> bytes:
        """The next `size` bytes, or all that is left."""
        start = self._position
        if start == 0 and (size < 0 or size >= len(self._content)):
            self._position = len(self._content)
            return self._content
        end = len(self._content) if size < 0 else start + size
        part = self._content[start:end]
        self._position = start + len(part)
        return part

    def readinto(self, buffer: memoryview) -> int:
        """Fill the buffer with what is next."""
        part = self.read(len(buffer))
        buffer[: len(part)] = part
        return len(part)


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


class ChunkedBody:
    """A chunked body with trailers (RFC 9112, section 7.1), read from its connection."""

    __slots__ = ("_connection", "_continue", "_decoder", "_failed", "_ready", "timeout_seconds", "trailers")

    def __init__(self, connection: Connection, timeout_seconds: float, expects: bool = False) -> None:
        self._connection = connection
        self._decoder = ChunkedDecoder()
        self._ready: memoryview = memoryview(b"")
        self._continue = expects
        self._failed = False  # as in LengthBody
        self.timeout_seconds = timeout_seconds
        self.trailers: dict[str, str] = {}

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

    def read(self, size: int = -1) -> bytes:
        """Up to `size` bytes, b"" at the end; everything for -1."""
        if size < 0:
            parts = []
            while self._advance():
                parts.append(bytes(self._ready))
                self._ready = memoryview(b"")
            return b"".join(parts)
        if not size or not self._advance():
            return b""
        part = bytes(self._ready[:size])
        self._ready = self._ready[size:]
        return part

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
            part = self._ready[: len(buffer) - filled]
            buffer[filled : filled + len(part)] = part
            filled += len(part)
            self._ready = self._ready[len(part) :]
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
        self._ready = memoryview(b"")
        while skipped <= DRAIN_MAX:
            if not self._advance():
                return True
            skipped += len(self._ready)
            self._ready = memoryview(b"")
        return False
