"""Bodies of messages: one way to read them, wherever their bytes come from, and what can go wrong with them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Final

from objstore.http.errors import HttpError

if TYPE_CHECKING:
    from objstore.devices import Device

NOTHING: Final = memoryview(b"")


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

    def readinto(self, buffer: memoryview, within_seconds: float | None = None) -> int:
        """Fill the buffer; less only at the end. `within_seconds` is for bodies that come from clients."""
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

    def readinto(self, buffer: memoryview, within_seconds: float | None = None) -> int:
        """Fill the buffer with what is next."""
        part = self.read(len(buffer))
        buffer[: len(part)] = part
        return len(part)

    def __iter__(self) -> Iterator[bytes | memoryview]:
        part = self.read()
        if part:
            yield part

    def again(self) -> BytesBody:
        """The same body, not read yet."""
        return BytesBody(self._content, self.trailers)

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
