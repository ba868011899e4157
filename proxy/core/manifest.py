"""Manifests: an object made of parts is stored as the list of its parts. Pure.

The body of a stored manifest is a JSON array of parts, in the spelling of the Swift API; a later format would be a JSON
object. `manifest_metadata` says what stands beside the body: that the object is a manifest, and what it makes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import msgspec
from msgspec import Struct

from objstore.http.ranges import ByteRange
from objstore.paths import ResourcePath
from objstore.proxy.core.backend.names import COMPOSITE_ETAG as COMPOSITE_ETAG
from objstore.proxy.core.backend.names import COMPOSITE_SIZE as COMPOSITE_SIZE
from objstore.proxy.core.backend.names import LISTED_ETAG as LISTED_ETAG
from objstore.proxy.core.backend.names import MANIFEST
from objstore.proxy.core.backend.names import UPLOAD as UPLOAD
from objstore.proxy.core.errors import ManifestDamaged
from objstore.proxy.core.info import StoredMetadata, StoredObjectInfo

# The largest body that is read as a manifest: 10,000 parts with long names.
MANIFEST_BYTES_MAX: Final = 32 * 1024 * 1024


class Part(
    Struct,
    frozen=True,
    omit_defaults=True,
    rename={"path": "name", "etag": "hash", "size": "bytes", "is_manifest": "sub_slo"},
):
    """One part: an object of the manifest's account, a range of one, or bytes that stand in the manifest itself.

    path: "/container/object"; "" with `data`, which needs nothing else.
    etag, size: of the whole object as its readers see it; a part without an ETag is not compared.
    range: "first-last", both included, "" for all of it.
    is_manifest: it is made of parts itself.
    number: where the part stands in an upload, whose numbers may leave gaps.
    """

    path: str = ""
    etag: str = ""
    size: int = 0
    range: str = ""
    content_type: str = ""
    last_modified: str = ""
    is_manifest: bool = False
    data: bytes = b""
    number: int = 0
    checksums: dict[str, str] = {}

    @property
    def span(self) -> ByteRange:
        """The bytes of its object that it brings. Raises ValueError."""
        if not self.range:
            return ByteRange(0, (len(self.data) or self.size) - 1)
        first, _, last = self.range.partition("-")
        return ByteRange(int(first), int(last))

    @property
    def length(self) -> int:
        """How many bytes it brings. Raises ValueError."""
        return self.span.length

    def location(self, account: str) -> ResourcePath:
        """Where its object is. Raises ValueError."""
        container, slash, name = self.path.removeprefix("/").partition("/")
        if not (container and slash and name):
            raise ValueError(f"not the path of a part: {self.path!r}")
        return ResourcePath(account, container, name)


class Piece(Struct, frozen=True):
    """The bytes of a part that a reader wants."""

    part: Part
    wanted: ByteRange


_decoder: Final = msgspec.json.Decoder(list[Part])
_encoder: Final = msgspec.json.Encoder()


def encode_manifest(parts: Sequence[Part]) -> bytes:
    """The body of a manifest as it is stored."""
    return _encoder.encode(parts)


def decode_manifest(path: ResourcePath, content: bytes) -> list[Part]:
    """The parts that the stored manifest at `path` lists. Raises ManifestDamaged."""
    try:
        parts = _decoder.decode(content)
        for part in parts:
            if part.length < 1 or not part.data:
                part.location(path.account)
    except (msgspec.DecodeError, UnicodeDecodeError, ValueError) as error:
        raise ManifestDamaged(path, str(error)) from error
    return parts


def is_composite(info: StoredObjectInfo) -> bool:
    """Whether a stored object is a manifest, in whose place readers get the bytes of its parts."""
    return info.stands_for_others and MANIFEST in info.metadata.given


def manifest_metadata(metadata: StoredMetadata, size: int, etag: str) -> StoredMetadata:
    """What is stored with a manifest beside other metadata: the size and the ETag of what it makes."""
    return StoredMetadata(
        metadata.user,
        metadata.system | {COMPOSITE_SIZE: str(size), COMPOSITE_ETAG: etag},
        metadata.transient,
        metadata.given | {MANIFEST: "True"},
    )


def composite_info(path: ResourcePath, info: StoredObjectInfo) -> StoredObjectInfo:
    """The object that a stored manifest makes: its size and its ETag. Raises ManifestDamaged."""
    system = info.metadata.system
    try:
        return msgspec.structs.replace(info, size=int(system[COMPOSITE_SIZE]), etag=system[COMPOSITE_ETAG])
    except (KeyError, ValueError) as error:
        raise ManifestDamaged(path, f"size or ETag: {error}") from error


def pieces_of(parts: Iterable[Part], wanted: ByteRange | None) -> Iterator[Piece]:
    """The pieces that make the bytes `wanted` of the whole, all of them for None; parts beyond are left out."""
    position = 0
    for part in parts:
        span = part.span
        start, position = position, position + span.length
        if wanted is None:
            yield Piece(part, span)
            continue
        if wanted.last < start:
            return
        if wanted.first < position:
            first = span.first + max(wanted.first - start, 0)
            yield Piece(part, ByteRange(first, min(span.last, span.first + wanted.last - start)))
