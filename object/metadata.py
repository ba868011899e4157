"""What is stored with an object, and its form on disk.

Metadata is JSON in the extended attribute `user.objstore.metadata`:

    byte 0      version of this format, 1
    byte 1      "I": metadata follows; "T": metadata stands in a trailer of the file, and what follows says
    where
    bytes 2-9   xxh3-64 of all that follows, big-endian
    bytes 10-   JSON

An ext4 inode has room for about 4 KiB of attributes in all, so longer metadata goes behind the body in the
same file and the attribute holds a `Trailer`. Headers' values are kept as PEP 3333 native strings, the wire's
bytes as Latin-1, so that whatever came in goes out again unchanged.
"""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Final, TypeVar

import msgspec
from msgspec import Meta, Struct
from xxhash import xxh3_64_digest, xxh3_64_hexdigest

from objstore.errors import StoreError

ATTRIBUTE: Final = "user.objstore.metadata"
INLINE_MAX: Final = 3072
# Far above what the limits of the API admit; a longer trailer is not one of ours.
TRAILER_MAX: Final = 1024 * 1024

_INLINE: Final = b"\x01I"
_TRAILING: Final = b"\x01T"
_PAYLOAD: Final = 10

Natural = Annotated[int, Meta(ge=0)]


@dataclass(eq=False)
class MetadataCorrupt(StoreError):
    """Stored metadata is absent, damaged, or of a version this program does not know."""

    message: ClassVar[str] = "metadata is corrupt: {reason}"

    reason: str


class StoredFragment(Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """Which fragment a body is, of which code (as text, see ErasureCode), and its length in bytes."""

    index: Natural
    code: str
    length: Natural


class ObjectMetadata(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    """Stored with a body. Timestamps are in their internal form.

    `size` and `etag` (MD5 in hex) are the object's, `checksum` (xxh3-128, hex) is of the bytes at rest: those of a
    `fragment`, or of the whole object. `headers` are what a POST replaces: user metadata and the headers a client may
    store. `sysmeta` stays until the next PUT.
    """

    name: str
    timestamp: str
    size: Natural
    etag: str
    checksum: str
    content_type: str
    headers: dict[str, str] = {}
    sysmeta: dict[str, str] = {}
    fragment: StoredFragment | None = None

    @property
    def stored_size(self) -> int:
        """How many bytes are at rest."""
        return self.size if self.fragment is None else self.fragment.length


class PostedMetadata(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    """Stored by a POST: replaces an object's headers, and its content type when it carries one."""

    name: str
    timestamp: str
    headers: dict[str, str] = {}
    content_type: str = ""
    content_type_timestamp: str = ""


class TombstoneMetadata(Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """Stored with a tombstone, whose file name alone decides: for those who look into directories."""

    name: str
    timestamp: str


Stored = TypeVar("Stored", ObjectMetadata, PostedMetadata, TombstoneMetadata)


class Encoded(Struct, frozen=True, gc=False):
    """The attribute's value, and what the file carries behind its body (usually nothing)."""

    attribute: bytes
    trailer: bytes


class Trailer(Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """Where metadata too long for the attribute stands: behind `body_length` bytes, `length` bytes long."""

    body_length: Natural
    length: Annotated[int, Meta(ge=0, le=TRAILER_MAX)]
    checksum: str


_encode_json = msgspec.json.Encoder().encode
_decoders: Final[dict[type, msgspec.json.Decoder[Struct]]] = {
    kind: msgspec.json.Decoder(kind) for kind in (ObjectMetadata, PostedMetadata, TombstoneMetadata, Trailer)
}


def encode(metadata: ObjectMetadata | PostedMetadata | TombstoneMetadata, body_length: int) -> Encoded:
    """The stored form of the metadata of a file whose body has `body_length` bytes.

    Raises ValueError if it is longer than any reader would accept.
    """
    content = _encode_json(metadata)
    if len(content) <= INLINE_MAX:
        return Encoded(_INLINE + xxh3_64_digest(content) + content, b"")
    if len(content) > TRAILER_MAX:
        raise ValueError(f"metadata of {len(content)} bytes, at most {TRAILER_MAX}")
    pointer = _encode_json(Trailer(body_length, len(content), xxh3_64_hexdigest(content)))
    return Encoded(_TRAILING + xxh3_64_digest(pointer) + pointer, content)


def decode(kind: type[Stored], attribute: bytes | None) -> Stored | Trailer:
    """The metadata in an attribute, or where it stands; raises MetadataCorrupt."""
    if attribute is None:
        raise MetadataCorrupt("the attribute is missing")
    form, content = attribute[:2], attribute[_PAYLOAD:]
    if form != _INLINE and form != _TRAILING:
        raise MetadataCorrupt(f"unknown version or form {form!r}")
    if xxh3_64_digest(content) != attribute[2:_PAYLOAD]:
        raise MetadataCorrupt("checksum of the attribute")
    return _parse(kind, content) if form == _INLINE else _parse(Trailer, content)


def decode_trailer(kind: type[Stored], trailer: Trailer, content: bytes) -> Stored:
    """The metadata in a file's trailer; raises MetadataCorrupt."""
    if len(content) != trailer.length or xxh3_64_hexdigest(content) != trailer.checksum:
        raise MetadataCorrupt("length or checksum of the trailer")
    return _parse(kind, content)


Parsed = TypeVar("Parsed", ObjectMetadata, PostedMetadata, TombstoneMetadata, Trailer)


def _parse(kind: type[Parsed], content: bytes) -> Parsed:
    try:
        return _decoders[kind].decode(content)  # type: ignore[return-value]  # each decoder gives its kind
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise MetadataCorrupt(str(error)) from error
