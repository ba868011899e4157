"""Stores objects: small ones in one go, large ones as they come in."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from hashlib import md5
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct

from objstore.headers import Backend, Client
from objstore.http.bodies import ClientDisconnected
from objstore.http.errors import HttpError
from objstore.proxy.core.nodes import Placement
from objstore.proxy.core.put_outcome import put_status
from objstore.proxy.core.put_states import PutEvent, PutState, after
from objstore.proxy.core.quorum_request import Writer
from objstore.proxy.core.streaming import Streaming
from objstore.scheme import Encoder, Piece, Scheme
from objstore.system import concurrency
from objstore.system.concurrency import Task

if TYPE_CHECKING:
    from objstore.http.messages import BodyReader
    from objstore.system.threads import ThreadGroup

SMALL_BODY_MAX: Final = 65536
CHUNK_BYTES: Final = 1024 * 1024
SLICE_BYTES: Final = 65536
CHUNK_SECONDS: Final = 5.0  # a slow client's bytes wait no longer than this for company
TRAILER_NAMES: Final = f"{Client.ETAG}, {Backend.BODY_CHECKSUM}"


class ObjectUpload(Struct, frozen=True):
    """An object to be stored.

    `length` is None for a chunked body, which may turn out to have up to `length_max` bytes. `etag` is what the client
    says it must be, "" if it does not. `ask_first`: the nodes may refuse it by its headers alone, and the client waits
    for that before it sends the body.
    """

    place: Placement
    scheme: Scheme
    headers: Sequence[dict[str, str]]  # for each node
    body: BodyReader
    length: int | None
    length_max: int
    etag: str = ""
    ask_first: bool = False


class Stored(Struct, frozen=True):
    """What became of it: the status to answer, and the ETag."""

    status: int
    etag: str = ""


class ObjectWriter:
    """PUT of objects."""

    def __init__(self, writer: Writer, threads: ThreadGroup) -> None:
        self._writer: Final = writer
        self._threads: Final = threads

    def store(self, upload: ObjectUpload) -> Stored:
        """Raises HttpError for what is the client's fault (408, 413, 422, 499): then nothing is stored."""
        length = upload.length
        if upload.ask_first or (length is not None and length > SMALL_BODY_MAX):
            return self._store_large(upload, b"")
        if length is None:
            content = _read_up_to(upload.body, SMALL_BODY_MAX + 1)
            _check_length(upload, len(content))
            if len(content) > SMALL_BODY_MAX:
                return self._store_large(upload, content)
        else:
            content = upload.body.read() if length else b""
            if len(content) != length:
                raise ClientDisconnected
        return self._store_small(upload, content)

    def _store_small(self, upload: ObjectUpload, content: bytes) -> Stored:
        """Everything is at hand: checksums go ahead of the body, all in one message to each node."""
        scheme, places = upload.scheme, upload.place.replicas
        encoder = scheme.encoder(places)
        etag = md5(content, usedforsecurity=False).hexdigest()
        _check_etag(upload, etag)
        pieces = encoder.encode(content)
        encoder.checksum(pieces)
        bodies = [bytes(piece) for piece in pieces]
        if tail := encoder.flush():
            encoder.checksum(tail)
            bodies = [body + piece for body, piece in zip(bodies, tail, strict=True)]
        for headers, checksum in zip(upload.headers, encoder.checksums(), strict=True):
            headers[Client.ETAG] = etag
            headers[Backend.BODY_CHECKSUM] = checksum
        state = after(PutState.CONNECTING, PutEvent.SENT_WHOLE)
        answers = self._writer.send("PUT", upload.place, upload.headers, bodies, quorum=scheme.write_quorum(places))
        status = put_status(answers.statuses, answers.quorum)
        after(state, PutEvent.STORED if status < 300 else PutEvent.LOST_QUORUM)
        return Stored(status, etag)

    def _store_large(self, upload: ObjectUpload, begun: bytes) -> Stored:
        """Ask for leave, then pass on what comes, beginning with what has come; checksums follow the body."""
        for headers in upload.headers:
            headers[Client.TRAILER] = TRAILER_NAMES
        quorum = upload.scheme.write_quorum(upload.place.replicas)
        streaming = Streaming(self._writer, upload.place, upload.headers, quorum, upload.length)
        etag = ""
        try:
            if streaming.open():
                etag = self._pump(upload, streaming, begun)
        finally:
            streaming.give_up()
        answers = streaming.answers
        return Stored(put_status(answers.statuses, answers.quorum), etag)

    def _pump(self, upload: ObjectUpload, streaming: Streaming, begun: bytes) -> str:
        """Pass the body on, hashing each chunk on a thread while it is sent and the next one comes in; the ETag."""
        encoder, digest, total = upload.scheme.encoder(upload.place.replicas), md5(usedforsecurity=False), 0
        hashing: Task[None] | None = None
        for chunk in _chunks(upload, begun):
            total += len(chunk)
            _check_length(upload, total)
            pieces = encoder.encode(chunk)
            if hashing is not None:
                hashing.wait()
            hashing = concurrency.spawn(self._threads.call, _hash, digest, encoder, chunk, pieces)
            if not streaming.send(pieces):
                return ""
        if hashing is not None:
            hashing.wait()
        if tail := encoder.flush():
            self._threads.call(encoder.checksum, tail)
            if not streaming.send(tail):
                return ""
        if upload.length is not None and total != upload.length:
            raise ClientDisconnected
        etag = digest.hexdigest()
        _check_etag(upload, etag)
        streaming.finish([{Client.ETAG: etag, Backend.BODY_CHECKSUM: checksum} for checksum in encoder.checksums()])
        return etag


def _hash(digest: Any, encoder: Encoder, chunk: Piece, pieces: Sequence[Piece]) -> None:
    digest.update(chunk)
    encoder.checksum(pieces)


def _check_length(upload: ObjectUpload, received: int) -> None:
    if received > upload.length_max:
        raise HttpError(413, f"Your request is too large: at most {upload.length_max} bytes fit.")


def _check_etag(upload: ObjectUpload, etag: str) -> None:
    if upload.etag and upload.etag != etag:
        raise HttpError(422)


def _read_up_to(body: BodyReader, size: int) -> bytes:
    """The body, or its first `size` bytes."""
    parts: list[bytes] = []
    while size > 0 and (part := body.read(size)):
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def _chunks(upload: ObjectUpload, begun: bytes) -> Iterator[Piece]:
    """The body in chunks, each valid until the next but one is asked for."""
    if begun:
        yield begun
    size = CHUNK_BYTES if upload.length is None else min(CHUNK_BYTES, upload.length)
    first, second = memoryview(bytearray(size)), memoryview(bytearray(size))
    while count := _fill(first, upload.body):
        yield first[:count]
        first, second = second, first


def _fill(buffer: memoryview, body: BodyReader) -> int:
    """Fill the buffer, or as much of it as comes soon: nodes must not think that we are gone. 0 at the end."""
    deadline = concurrency.monotonic() + CHUNK_SECONDS
    filled = 0
    while filled < len(buffer):
        count = body.readinto(buffer[filled : filled + SLICE_BYTES])
        filled += count
        if not count or concurrency.monotonic() > deadline:
            break
    return filled
