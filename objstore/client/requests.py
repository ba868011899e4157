"""Requests to servers, repeated where that is safe: when, how often, and after which pause."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, BinaryIO, Final

from objstore.client.connections import (
    CHUNK_BYTES,
    ClientResponse,
    KeptConnections,
    NotConnected,
    ServerAddress,
    Timeouts,
)
from objstore.client.errors import ServerUnreachable, failure_of
from objstore.http.handshake import Handshake

Content = bytes | BinaryIO | Iterable[bytes] | Callable[[], Iterable[bytes]]

READING_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
# Done twice, these leave what they leave when done once (RFC 9110, section 9.2.2; a POST sets metadata).
REPEATABLE_METHODS: Final = frozenset({"PUT", "DELETE", "POST", "COPY"})
# Where a first attempt succeeded and its response was lost, these make a second one fail.
CONDITIONS: Final = frozenset({"if-match", "if-none-match", "if-unmodified-since", "if-modified-since"})
PASSING_STATUSES: Final = frozenset({408, 429, 498, 500, 502, 503, 504})
REASON_CHARACTERS: Final = 200
REASON_BYTES_MAX: Final = 64 * 1024


@dataclass(frozen=True)
class RetryPolicy:
    """How often a request is sent at most, and how long to wait before each repetition: twice as long each time."""

    attempts: int = 4
    first_pause_seconds: float = 0.5
    pause_seconds_max: float = 20.0

    def pause_seconds(self, failures: int, retry_after: str, chance: float) -> float:
        """After so many failures. `chance`, from 0 to 1, spreads clients that failed at the same moment."""
        pause = self.first_pause_seconds * 2.0 ** (failures - 1) * (0.5 + chance)
        if retry_after.isascii() and retry_after.isdigit():
            pause = max(pause, float(retry_after))
        return min(pause, self.pause_seconds_max)


ONCE: Final = RetryPolicy(attempts=1)


class RequestBody:
    """The content of a request: bytes, a file from where it stands, pieces, or a function that gives the pieces anew.

    `length` is None where it is not known; the body then goes out in chunks.
    """

    def __init__(self, content: Content, length: int | None = None) -> None:
        self._content = content
        self._begin = 0
        self.length = length
        self._taken = False
        if isinstance(content, bytes):
            self.length = len(content)
        elif isinstance(content, io.IOBase) and content.seekable():
            self._begin = content.tell()
            if length is None:
                self.length = content.seek(0, io.SEEK_END) - self._begin

    @property
    def replayable(self) -> bool:
        """Whether it can be sent (again) from its beginning."""
        content = self._content
        if isinstance(content, io.IOBase):
            return content.seekable() or not self._taken
        return isinstance(content, bytes | Sequence) or callable(content) or not self._taken

    def pieces(self) -> Iterator[bytes]:
        """From the beginning. Raises ValueError when there is more or less of it than `length`."""
        self._taken = True
        sent = 0
        for piece in self._source():
            sent += len(piece)
            if self.length is not None and sent > self.length:
                raise ValueError(f"the body has more than the {self.length} bytes announced")
            yield piece
        if self.length is not None and sent < self.length:
            raise ValueError(f"the body has {sent} bytes of the {self.length} announced")

    def _source(self) -> Iterable[bytes]:
        content: Any = self._content
        if isinstance(content, bytes):
            return (content,)
        if isinstance(content, io.IOBase):
            if content.seekable():
                content.seek(self._begin)
            return self._blocks(content)
        return content() if callable(content) else content  # type: ignore[no-any-return]

    def _blocks(self, file: Any) -> Iterator[bytes]:
        left = self.length
        while left is None or left:
            block = file.read(CHUNK_BYTES if left is None else min(CHUNK_BYTES, left))
            if not block:
                return
            left = None if left is None else left - len(block)
            yield block


@dataclass
class HttpClient:
    """Sends requests and repeats those that may be repeated; its end closes its connections. Threads may share it."""

    retries: RetryPolicy = field(default_factory=RetryPolicy)
    pool: KeptConnections = field(default_factory=KeptConnections)
    sleep: Callable[[float], None] = time.sleep
    chance: Callable[[], float] = field(default_factory=lambda: Random().random)

    @classmethod
    def with_limits(cls, timeout_seconds: float, handshake: Handshake | None = None) -> HttpClient:
        """One that waits so long for a connection, and so long for each piece of a response.

        It asks servers of a cluster, if there is a handshake.
        """
        return cls(ONCE, KeptConnections(Timeouts(timeout_seconds, timeout_seconds), handshake=handshake))

    def __enter__(self) -> HttpClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.pool.close()

    def request(
        self,
        server: ServerAddress,
        method: str,
        target: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: RequestBody | None = None,
        accept: Collection[int] = (),
    ) -> ClientResponse:
        """The first response that is not a passing failure; its body is not read yet.

        A request is repeated when it never reached the server; and after a failure that may pass, if it reads, or if
        it may be done twice, sets no condition, and its body can be sent again. Raises ServerUnreachable when the
        attempts are used up, and RequestFailed for statuses that are neither 2xx nor in `accept`.
        """
        sent = dict(headers or {})
        if body is not None and body.length is not None:
            sent["Content-Length"] = str(body.length)
        conditional = not CONDITIONS.isdisjoint(map(str.lower, sent))
        safe = method in READING_METHODS or (method in REPEATABLE_METHODS and not conditional)
        failures = 0
        while True:
            failures += 1
            last = failures >= self.retries.attempts
            retry_after = ""
            try:
                response = self.pool.send(server, method, target, sent, None if body is None else body.pieces())
            except ServerUnreachable as failure:
                may = isinstance(failure, NotConnected) or (safe and (body is None or body.replayable))
                if last or not may:
                    raise
            else:
                may = safe and (body is None or body.replayable)
                if last or not may or response.status in accept or response.status not in PASSING_STATUSES:
                    return self._checked(response, method, target, accept, repeated=failures > 1)
                retry_after = response.headers.get("retry-after", "")
                response.close()
            self.sleep(self.retries.pause_seconds(failures, retry_after, self.chance()))

    def _checked(
        self, response: ClientResponse, method: str, target: str, accept: Collection[int], repeated: bool
    ) -> ClientResponse:
        gone = repeated and method == "DELETE" and response.status == 404  # an attempt before this one may have done it
        if response.status < 300 or response.status in accept or gone:
            return response
        with response:
            content = b""
            try:
                content = response.read(REASON_BYTES_MAX)
            except ServerUnreachable:
                pass  # the status says enough
        reason = " ".join(content.decode("utf-8", "replace").split())[:REASON_CHARACTERS]
        raise failure_of(method, target, response.status, reason)
