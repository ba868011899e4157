"""Rows that object servers send to container servers, and container servers to account servers."""

from collections.abc import Sequence
from typing import Final, TypeVar

import msgspec
from msgspec import Struct

from objstore.http.errors import HttpError


class ObjectRow(Struct, frozen=True, omit_defaults=True, gc=False):
    """An object as its container lists it. Timestamps are in their internal form; size is in bytes.

    An empty content_type_timestamp or meta_timestamp means the same as `timestamp`.
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

_encoder: Final = msgspec.json.Encoder()
_object_rows: Final = msgspec.json.Decoder(list[ObjectRow])
_container_rows: Final = msgspec.json.Decoder(list[ContainerRow])


def encode_rows(rows: Sequence[ObjectRow] | Sequence[ContainerRow]) -> bytes:
    """A JSON array, the body of an UPDATE request."""
    return _encoder.encode(rows)


def decode_object_rows(body: bytes) -> list[ObjectRow]:
    """Raises HttpError 400 on anything but an array of object rows."""
    return _decode(_object_rows, body)


def decode_container_rows(body: bytes) -> list[ContainerRow]:
    """Raises HttpError 400 on anything but an array of container rows."""
    return _decode(_container_rows, body)


def _decode(decoder: msgspec.json.Decoder[list[Row]], body: bytes) -> list[Row]:
    try:
        return decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise HttpError(400, f"Bad rows: {error}") from None
