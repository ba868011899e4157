"""Bodies that are encrypted while they come in, and decrypted while they go out; large pieces on a thread."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final

from objstore.http.bodies import ByteStream
from objstore.http.body_chunks import FIRST_BYTES, GATHER_SECONDS
from objstore.limits import ObjectTooLarge
from objstore.proxy.core.encryption.format import CHUNK_BYTES, SEALED_CHUNK_BYTES, ChunkOpener, ChunkSealer
from objstore.proxy.core.errors import BodyBrokenOff

if TYPE_CHECKING:
    from objstore.http.messages import Body, BodyReader
    from objstore.system.threads import ThreadGroup

# So much is encrypted, or decrypted, in one go.
PIECE_BYTES: Final = 4 * CHUNK_BYTES
# Below this a thread costs more than the work.
_THREAD_BYTES: Final = CHUNK_BYTES


class SealingBody(ByteStream):
    """Reads as the encrypted form of a body. Reading raises ObjectTooLarge, and what reading that body raises."""

    __slots__ = ("_digest", "_ended", "_limit", "_sealer", "_source", "_threads")

    def __init__(
        self,
        source: BodyReader,
        sealer: ChunkSealer,
        digest: Callable[[bytes | memoryview], None],
        limit: int,
        threads: ThreadGroup,
    ) -> None:
        """`digest` is given the body itself, of up to `limit` bytes."""
        super().__init__()
        self._source = source
        self._sealer = sealer
        self._digest = digest
        self._limit = limit
        self._threads = threads
        self._ended = False

    def _advance(self) -> bool:
        while not self._ready:
            if self._ended:
                return False
            self._ready = memoryview(self._next())
        return True

    def _next(self) -> bytes:
        source = self._source
        first = source.read(FIRST_BYTES)
        if not first:
            self._ended = True
            self.trailers = source.trailers
            return self._sealer.finish()
        buffer = bytearray(PIECE_BYTES)
        filled = len(first)
        buffer[:filled] = first
        filled += source.readinto(memoryview(buffer)[filled:], GATHER_SECONDS)
        if self._sealer.size + filled > self._limit:
            raise ObjectTooLarge(self._limit)
        piece = memoryview(buffer)[:filled]
        return self._seal(piece) if filled < _THREAD_BYTES else self._threads.call(self._seal, piece)

    def _seal(self, piece: memoryview) -> bytes:
        self._digest(piece)
        return self._sealer.update(piece)


class OpenedBody:
    """So many decrypted bytes of a stored body. Iterating raises SealBroken, BodyBrokenOff, and what that body raises.

    Nothing is given before its chunk has proved to be genuine.
    """

    __slots__ = ("_body", "_open", "_opener", "_threads", "length")

    def __init__(self, body: Body | Callable[[], Body], opener: ChunkOpener, length: int, threads: ThreadGroup) -> None:
        """`body` is what is stored, from the chunk on in which the first byte lies, or gives that when it is wanted."""
        self.length: int | None = length
        self._open = body if callable(body) else None
        self._body: Body | None = None if callable(body) else body
        self._opener = opener
        self._threads = threads

    def __iter__(self) -> Iterator[bytes | memoryview]:
        opener, left = self._opener, self.length or 0
        for piece in self._pieces():
            opened = opener.update(piece) if len(piece) < _THREAD_BYTES else self._threads.call(opener.update, piece)
            if opened:
                yield memoryview(opened)[:left]
                left = max(left - len(opened), 0)
        if opened := opener.finish():
            yield memoryview(opened)[:left]
            left = max(left - len(opened), 0)
        if left:
            raise BodyBrokenOff((self.length or 0) - left)

    def _pieces(self) -> Iterator[bytes]:
        """What is stored, gathered."""
        if self._open is not None:
            self._body, self._open = self._open(), None
        if self._body is None:
            return
        held = bytearray()
        for chunk in self._body:
            held += chunk
            if len(held) >= SEALED_CHUNK_BYTES:
                yield bytes(held)
                held.clear()
        if held:
            yield bytes(held)

    def close(self) -> None:
        """Let go of what is left."""
        body, self._body, self._open = self._body, None, None
        if body is not None:
            body.close()
