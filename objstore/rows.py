"""Rows that object servers send to container servers, and container servers to account servers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Final, TypeVar

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from objstore.errors import StoreError


@dataclass(eq=False)
class InvalidRows(StoreError):
    message: ClassVar[str] = "Bad rows: {reason}"

    reason: str


class ObjectRow(Struct, frozen=True, omit_defaults=True, gc=False):
    """An object as its container lists it. Timestamps are in their internal form; size is in bytes.

    An empty content_type_timestamp or meta_timestamp means the same as `timestamp`.

    version: the first timestamp of a version that is kept whatever is written later; "" for the plain line, in which
        the newest write replaces older ones. A later `timestamp` says when it was made the current one again or, with
        `deleted`, that it was removed then.
    marker: a delete marker: the object reads as deleted while this is its newest version.
    upload: the multipart upload whose parts the object names, "" if there is none.
    """

    name: str
    timestamp: str
    size: int
    content_type: str
    etag: str
    deleted: bool = False
    policy_index: int = 0
    content_type_timestamp: str = ""
    meta_timestamp: str = ""
    version: str = ""
    marker: bool = False
    upload: str = ""


class ContainerRow(Struct, frozen=True, omit_defaults=True, gc=False):
    """A container as its account lists it; it is deleted if it is empty and delete_timestamp is the newer one.

    The policy and the figures are as they were in the container at `stats_timestamp`.
    """

    name: str
    put_timestamp: str
    delete_timestamp: str = "0"
    object_count: int = 0
    bytes_used: int = 0
    policy_index: int = 0
    stats_timestamp: str = "0"


Row = TypeVar("Row", ObjectRow, ContainerRow)

ETAG_LENGTH: Final = 32  # an MD5 in hex
EMPTY_ETAG: Final = "d41d8cd98f00b204e9800998ecf8427e"  # of no bytes
_encoder: Final = msgspec.json.Encoder()
_object_rows: Final = msgspec.json.Decoder(list[ObjectRow])
_container_rows: Final = msgspec.json.Decoder(list[ContainerRow])
_fields: Final = msgspec.json.Decoder(dict[str, str | int])


def merge_object_rows(one: ObjectRow, other: ObjectRow) -> ObjectRow:
    """Three registers, each won by its newest write: the data (or its deletion), the content type, the metadata.

    Of two writes with the same timestamp a deletion wins, then a delete marker, as on object servers, then the greater
    value: any total order lets replicas agree. A kept version that was removed stays so, whenever it is written. Both
    rows are of one name, policy and version and in stored form, and so is the result.
    """
    if one.version and one.deleted is not other.deleted:
        return one if one.deleted else other
    if other.timestamp > newest_of(one):
        return other
    if one.timestamp > newest_of(other):
        return one
    data = max(one, other, key=lambda row: (row.timestamp, row.deleted, row.marker, row.etag, row.size, row.upload))
    typed = max(one, other, key=lambda row: (row.content_type_timestamp or row.timestamp, row.content_type))
    typed_at = typed.content_type_timestamp or typed.timestamp
    meta_at = max(one.meta_timestamp or one.timestamp, other.meta_timestamp or other.timestamp)
    return replace(
        data,
        content_type=typed.content_type,
        content_type_timestamp="" if typed_at == data.timestamp else typed_at,
        meta_timestamp="" if meta_at == data.timestamp else meta_at,
    )


def newest_of(row: ObjectRow) -> str:
    """When its data, its type or its metadata was written last."""
    # An empty timestamp, which stands for the data's, sorts first.
    return max(row.timestamp, row.content_type_timestamp, row.meta_timestamp)


def precedence(row: ObjectRow) -> tuple[str, bool, str]:
    """What orders the live rows of one name: the greatest is what the object is; as object servers decide it."""
    return row.timestamp, row.marker, row.version


def etag_with_fields(etag: str, fields: Mapping[str, str | int]) -> str:
    """The ETag of a row, an MD5, that brings further fields to list: what a link leads to, a large object's own ETag.

    They stand behind it in JSON, so that rows, databases and their digests need know nothing of them.
    """
    return f"{etag};{_encoder.encode(fields).decode()}"


def split_etag(etag: str) -> tuple[str, dict[str, str | int]]:
    """The ETag of a row without what it brings, and that; no fields if these cannot be read."""
    if not etag.startswith(";{", ETAG_LENGTH):
        return etag, {}
    try:
        return etag[:ETAG_LENGTH], _fields.decode(etag[ETAG_LENGTH + 1 :])
    except msgspec.DecodeError:
        return etag, {}


def encode_rows(rows: Sequence[ObjectRow] | Sequence[ContainerRow]) -> bytes:
    """A JSON array, the body of an UPDATE request."""
    return _encoder.encode(rows)


def decode_object_rows(body: bytes) -> list[ObjectRow]:
    """Raises InvalidRows on anything but an array of object rows."""
    return _decode(_object_rows, body)


def decode_container_rows(body: bytes) -> list[ContainerRow]:
    """Raises InvalidRows on anything but an array of container rows."""
    return _decode(_container_rows, body)


def _decode(decoder: msgspec.json.Decoder[list[Row]], body: bytes) -> list[Row]:
    try:
        return decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidRows(str(error)) from None
