"""What the versions of ring files have in common: the gzip stream, devices, and how much there may be of anything."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Annotated, Final

from msgspec import Meta, Struct

from objstore.devices import Device
from objstore.errors import StoreError

GZIP_ONLY: Final = zlib.MAX_WBITS | 16  # zlib: expect a gzip header, and check CRC and length at the end


@dataclass(eq=False)
class GunzipError(StoreError):
    """The stream is broken, or ends too early or too late."""

    reason: str

    message = "{reason}"


class Gunzip:
    """Decompresses bytes piecewise, never more than asked for, so that a small file cannot fill the memory."""

    def __init__(self, content: bytes) -> None:
        self._stream: Final = zlib.decompressobj(GZIP_ONLY)
        self._pending = content

    def read_up_to(self, length: int) -> bytes:
        """`length` bytes, or fewer at the end of the stream."""
        pieces: list[bytes] = []
        missing = length
        while missing and not self._stream.eof:
            piece = self._decompress(missing)
            if not piece and not self._pending and not self._stream.eof:
                raise GunzipError("it is truncated")
            pieces.append(piece)
            missing -= len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def read_exactly(self, length: int, what: str) -> bytes:
        """`length` bytes; raises GunzipError naming `what` is cut off."""
        content = self.read_up_to(length)
        if len(content) < length:
            raise GunzipError(f"it ends within {what}")
        return content

    def expect_end(self) -> None:
        """Check that nothing follows and that the checksum is right; raises GunzipError otherwise."""
        if self.read_up_to(1):
            raise GunzipError("there are bytes after the last replica")
        if self._stream.unused_data.strip(b"\0"):
            raise GunzipError("there are bytes after the compressed data")

    def _decompress(self, length: int) -> bytes:
        try:
            piece = self._stream.decompress(self._pending, length)
        except zlib.error as error:
            raise GunzipError(f"its compressed data are broken ({error})") from error
        self._pending = self._stream.unconsumed_tail
        return piece


HEADER_BYTES_MAX: Final = 1 << 27  # 100,000 devices need a quarter of it
REPLICAS_MAX: Final = 256
ASSIGNMENTS_MAX: Final = 1 << 29  # 2**24 partitions of 32 replicas


class DeviceRow(Struct):
    """A device as ring files spell it. Old files have neither regions nor a replication address."""

    id: Annotated[int, Meta(ge=0)]
    zone: Annotated[int, Meta(ge=0)]
    ip: Annotated[str, Meta(min_length=1)]
    port: Annotated[int, Meta(ge=0, le=65535)]
    device: Annotated[str, Meta(pattern=r"^[^/\x00]+$")]
    weight: Annotated[float, Meta(ge=0)]
    region: Annotated[int, Meta(ge=0)] = 1
    replication_ip: str | None = None
    replication_port: Annotated[int, Meta(ge=0, le=65535)] | None = None
    meta: str | None = None

    def to_device(self) -> Device:
        replication_port = self.port if self.replication_port is None else self.replication_port
        return Device(
            id=self.id,
            region=self.region,
            zone=self.zone,
            ip=self.ip,
            port=self.port,
            replication_ip=self.replication_ip or self.ip,
            replication_port=replication_port,
            device=self.device,
            weight=self.weight,
            meta=self.meta or "",
        )


def devices_of(rows: list[DeviceRow | None]) -> list[Device]:
    """The devices of a list that has null at the ids of removed ones.

    Raises ValueError when a device stands in the place of another id.
    """
    for place, row in enumerate(rows):
        if row is not None and row.id != place:
            raise ValueError(f"the device at place {place} has the id {row.id}")
    return [row.to_device() for row in rows if row is not None]
