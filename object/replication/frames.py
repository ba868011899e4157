"""Files of objects on their way from device to device: a head, then the body, for each.

    bytes 0-3    "OBJ1"
    bytes 4-7    length of the head, big-endian
    bytes 8-15   xxh3-64 of the head
    bytes 16-    the head, JSON; then as many bytes of body as it says

The body's own checksum is part of the object's metadata, which travels as it is stored.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import msgspec
from msgspec import Struct
from xxhash import xxh3_64_digest

from objstore.http.bodies import ClientDisconnected
from objstore.http.errors import HttpError
from objstore.http.messages import BodyReader
from objstore.logs import Logger
from objstore.mounts import DeviceUnavailable
from objstore.object.engine import ObjectCorrupt, ReplicationStore
from objstore.object.metadata import ObjectMetadata, PostedMetadata, TombstoneMetadata
from objstore.policies import Policy

HEAD_BYTES_MAX: Final = 1024 * 1024 + 4096

_PREFIX: Final = struct.Struct(">4sI8s")
_MAGIC: Final = b"OBJ1"
_encode: Final = msgspec.json.Encoder().encode

Metadata = ObjectMetadata | PostedMetadata | TombstoneMetadata


class Head(Struct, frozen=True):
    """A file: the hash of its object's path, its name, how many bytes of body follow, its metadata as stored."""

    hash: str
    name: str
    size: int
    metadata: msgspec.Raw


_heads: Final = msgspec.json.Decoder(Head)


def head_of(digest: str, name: str, size: int, metadata: Metadata) -> bytes:
    head = _encode(Head(digest, name, size, msgspec.Raw(_encode(metadata))))
    return _PREFIX.pack(_MAGIC, len(head), xxh3_64_digest(head)) + head


def read_head(body: BodyReader) -> Head | None:
    """The next frame's head, None at the end. Raises HttpError 400 on anything else, ClientDisconnected."""
    prefix = _read(body, _PREFIX.size, may_end=True)
    if not prefix:
        return None
    magic, length, checksum = _PREFIX.unpack(prefix)
    if magic != _MAGIC or length > HEAD_BYTES_MAX:
        raise HttpError(400, "Not a frame")
    content = _read(body, length)
    if xxh3_64_digest(content) != checksum:
        raise HttpError(400, "A frame's head does not match its checksum")
    try:
        head = _heads.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise HttpError(400, f"Bad frame: {error}") from None
    if head.size < 0:
        raise HttpError(400, "Bad frame: a negative size")
    return head


def read_piece(body: BodyReader, size: int) -> bytes:
    """Exactly so many bytes of a frame's body. Raises ClientDisconnected."""
    return _read(body, size)


def _read(body: BodyReader, size: int, may_end: bool = False) -> bytes:
    parts, missing = [], size
    while missing:
        part = body.read(missing)
        if not part:
            if may_end and missing == size:
                return b""
            raise ClientDisconnected
        parts.append(part)
        missing -= len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def frames(
    storage: ReplicationStore, policy: Policy, partition: str, wanted: Iterable[tuple[str, str]], log: Logger
) -> Iterator[tuple[tuple[str, str], Iterator[bytes | memoryview]]]:
    """For each (hash, name) that can be read: it, and its frame in pieces, each valid until the next is asked for.

    A small body is verified before its frame begins; damage that shows later in a large one raises ObjectCorrupt:
    the frame stays incomplete, and the receiver keeps nothing of it. The damaged object is in quarantine by then.
    """
    for digest, name in wanted:
        try:
            exported = storage.export(policy, partition, digest, name)
        except (ObjectCorrupt, DeviceUnavailable) as error:
            log.warning("damaged object is not sent", hash=digest, file=name, reason=str(error))
            continue
        if exported is None:
            continue
        size = 0 if exported.body is None else exported.body.info.data.stored_size
        body = None if exported.body is None else exported.body.stream(0, size)
        head = head_of(digest, name, size, exported.metadata)
        yield (digest, name), _pieces(head, () if body is None else body)
        if body is not None:
            body.close()


def _pieces(head: bytes, body: Iterable[bytes | memoryview]) -> Iterator[bytes | memoryview]:
    yield head
    yield from body


class FrameBody:
    length: int | None = None

    def __init__(self, frames: Iterator[tuple[tuple[str, str], Iterator[bytes | memoryview]]]) -> None:
        self._frames = frames

    def __iter__(self) -> Iterator[bytes | memoryview]:
        for _, pieces in self._frames:
            yield from pieces

    def close(self) -> None:
        close = getattr(self._frames, "close", None)
        if close is not None:
            close()


def flattened(names: dict[str, Sequence[str]] | dict[str, list[str]]) -> list[tuple[str, str]]:
    return [(digest, name) for digest, group in names.items() for name in group]
