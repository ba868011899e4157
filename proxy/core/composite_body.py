"""The bodies of objects made of parts: a part is opened, and checked, while the one before it streams."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from objstore.errors import StoreError
from objstore.http.messages import Body
from objstore.http.sockets import SEND_TIMEOUT_SECONDS, Connection
from objstore.paths import ResourcePath
from objstore.proxy.core.errors import (
    AccountNotFound,
    BodyBrokenOff,
    ContainerNotFound,
    CoreError,
    InvalidRange,
    ManifestDamaged,
    ManifestsTooDeep,
    ObjectNotFound,
    PartUnavailable,
)
from objstore.proxy.core.info import StoredObjectInfo
from objstore.proxy.core.manifest import (
    MANIFEST_BYTES_MAX,
    Part,
    Piece,
    composite_info,
    decode_manifest,
    is_composite,
    pieces_of,
)
from objstore.proxy.core.objects import OpenedObject
from objstore.system import concurrency
from objstore.system.concurrency import Task

if TYPE_CHECKING:
    from objstore.proxy.core.composite import PartSource
    from objstore.rate_limiter import RateLimiter

DEPTH_MAX: Final = 10
# Parts are opened ahead until they hold so many bytes, and at most so many of them. This process keeps less of each: a
# body of up to 64 KiB, or what the kernel receives of a longer one.
AHEAD_BYTES_MAX: Final = 1 << 20
AHEAD_MAX: Final = 4
_CHANGED: Final = "it has changed"


class Throttle(Struct, frozen=True):
    """What slows a reader down: after so many parts, those that bring fewer bytes wait their turn."""

    limiter: RateLimiter
    after_parts: int
    under_bytes: int
    seconds_max: float


def read_manifest(path: ResourcePath, manifest: OpenedObject) -> tuple[StoredObjectInfo, list[Part]]:
    """What an opened manifest makes, and of which parts; closes it. Raises ManifestDamaged, BodyBrokenOff."""
    try:
        if isinstance(manifest.body, bytes):
            content = manifest.body
        elif manifest.info.size > MANIFEST_BYTES_MAX:
            raise ManifestDamaged(path, f"more than {MANIFEST_BYTES_MAX} bytes")
        else:
            content = b"".join(bytes(chunk) for chunk in manifest.body)
    finally:
        manifest.close()
    return composite_info(path, manifest.info), decode_manifest(path, content)


class PartReader:
    """Opens the parts of one read, for all of its bodies."""

    __slots__ = ("account", "count", "ends_at", "source", "throttle")

    def __init__(self, account: str, source: PartSource, throttle: Throttle | None) -> None:
        self.account = account
        self.source = source
        self.throttle = throttle
        self.count = 0  # parts opened so far
        self.ends_at = None if throttle is None else concurrency.monotonic() + throttle.seconds_max

    def pace(self, length: int) -> None:
        """Wait for the turn of a part. Raises BodyBrokenOff once the read has taken too long."""
        self.count += 1
        throttle = self.throttle
        if throttle is None:
            return
        if self.count > throttle.after_parts and length < throttle.under_bytes:
            throttle.limiter.acquire()
        if self.ends_at is not None and concurrency.monotonic() > self.ends_at:
            raise BodyBrokenOff(0)

    def open(self, piece: Piece, depth: int) -> bytes | Body:
        """The bytes of one piece, once its part proved to be the one that was meant. Raises CoreError."""
        part, wanted = piece.part, piece.wanted
        if part.data:
            return part.data[wanted.first : wanted.last + 1]
        self.pace(wanted.length)
        path = part.location(self.account)
        try:
            try:
                opened = self._checked(path, piece, newest=False)
            except (PartUnavailable, ObjectNotFound, InvalidRange):
                # A replica that missed the last write has other bytes, or none.
                opened = self._checked(path, piece, newest=True)
        except (ObjectNotFound, ContainerNotFound, AccountNotFound) as error:
            raise PartUnavailable(path, "it is gone") from error
        except InvalidRange as error:
            raise PartUnavailable(path, _CHANGED) from error
        # Each part is read again by itself: were a whole manifest, each level would double the reads of those below.
        return self._nested(path, piece, opened, depth) if is_composite(opened.info) else opened.body

    def _checked(self, path: ResourcePath, piece: Piece, *, newest: bool) -> OpenedObject:
        """The part, or the manifest that makes it. Raises PartUnavailable if it is another."""
        part, wanted = piece.part, piece.wanted
        whole = not part.size or wanted.length == part.size
        opened = self.source.open(path, "" if whole else wanted.header, newest=newest)
        try:
            nested = is_composite(opened.info)
            info = composite_info(path, opened.info) if nested else opened.info
            if _differs(part, info) or not (whole or nested or opened.part == wanted):
                raise PartUnavailable(path, _CHANGED)
        except CoreError:
            opened.close()
            raise
        return opened

    def _nested(self, path: ResourcePath, piece: Piece, opened: OpenedObject, depth: int) -> Body:
        if depth >= DEPTH_MAX:
            opened.close()
            raise ManifestsTooDeep(path, DEPTH_MAX)
        _, parts = read_manifest(path, opened)
        body = CompositeBody(self, pieces_of(parts, piece.wanted), piece.wanted.length, depth + 1)
        body.open_first()
        return body


def _differs(part: Part, info: StoredObjectInfo) -> bool:
    return bool(part.etag) and (part.etag != info.etag or part.size != info.size)


class _Opening:
    """A piece that is being opened, or is open and waits for its turn."""

    __slots__ = ("_abandoned", "_task", "length")

    def __init__(self, reading: PartReader, piece: Piece, depth: int) -> None:
        self.length = piece.wanted.length
        self._abandoned = False
        self._task: Task[bytes | Body] = concurrency.spawn(self._open, reading, piece, depth)

    def _open(self, reading: PartReader, piece: Piece, depth: int) -> bytes | Body:
        if self._is_abandoned():
            return b""
        body = reading.open(piece, depth)
        if self._is_abandoned():
            _close(body)
        return body

    def _is_abandoned(self) -> bool:
        return self._abandoned

    def body(self) -> bytes | Body:
        """Waited for, as long as the nodes are. Raises what opening it raised."""
        return self._task.wait()

    def close(self) -> None:
        """Let go of it, now or when it has been opened: a request to a node that is under way is not broken off."""
        self._abandoned = True
        if self._task.dead:
            try:
                _close(self._task.wait())
            except StoreError:
                pass  # it could not be opened, and is not wanted either


class CompositeBody:
    """The bytes of several pieces, one after the other; the next ones are opened while one streams.

    A piece that cannot be had raises CoreError: what has been sent cannot be taken back.
    """

    __slots__ = ("_ahead", "_current", "_depth", "_pieces", "_reading", "length")

    def __init__(self, reading: PartReader, pieces: Iterator[Piece], length: int | None, depth: int = 1) -> None:
        """Nothing is opened before `open_first`, or before the first byte is asked for."""
        self.length: int | None = length
        self._reading = reading
        self._pieces = pieces
        self._depth = depth
        self._ahead: deque[_Opening] = deque()
        self._current: tuple[int, bytes | Body] | None = None  # how many bytes it is to have, and the body

    def open_first(self) -> None:
        """Open the first piece, so that a refusal can still be told. Raises CoreError."""
        piece = next(self._pieces, None)
        if piece is not None:
            self._current = piece.wanted.length, self._reading.open(piece, self._depth)

    def _bodies(self) -> Iterator[tuple[int, bytes | Body]]:
        while True:
            if self._current is None:
                self._open_ahead()
                if not self._ahead:
                    return
                opening = self._ahead[0]
                self._current = opening.length, opening.body()
                self._ahead.popleft()
            self._open_ahead()
            yield self._current
            body = self._current[1]
            self._current = None
            _close(body)

    def _open_ahead(self) -> None:
        held = sum(opening.length for opening in self._ahead)
        while not self._ahead or (held < AHEAD_BYTES_MAX and len(self._ahead) < AHEAD_MAX):
            piece = next(self._pieces, None)
            if piece is None:
                return
            self._ahead.append(_Opening(self._reading, piece, self._depth))
            held += piece.wanted.length

    def __iter__(self) -> Iterator[bytes | memoryview]:
        for expected, body in self._bodies():
            if isinstance(body, bytes):
                yield body
                given = len(body)
            else:
                given = 0
                for chunk in body:
                    given += len(chunk)
                    yield chunk
            _check_length(expected, given)

    def send_to(self, connection: Connection) -> int:
        """Send all of it over a connection of the HTTP server's; returns how many bytes went."""
        sent = 0
        for expected, body in self._bodies():
            given = _send(body, connection)
            _check_length(expected, given)
            sent += given
        return sent

    def close(self) -> None:
        """Let go of what is left."""
        current, self._current = self._current, None
        if current is not None:
            _close(current[1])
        while self._ahead:
            self._ahead.popleft().close()


def _send(body: bytes | Body, connection: Connection) -> int:
    if isinstance(body, bytes):
        connection.send(body, SEND_TIMEOUT_SECONDS)
        return len(body)
    send_to = getattr(body, "send_to", None)
    if send_to is not None:
        sent: int = send_to(connection)
        return sent
    given = 0
    for chunk in body:
        connection.send(chunk, SEND_TIMEOUT_SECONDS)
        given += len(chunk)
    return given


def _check_length(expected: int, given: int) -> None:
    if given != expected:
        raise BodyBrokenOff(given)


def _close(body: bytes | Body) -> None:
    if not isinstance(body, bytes):
        body.close()
