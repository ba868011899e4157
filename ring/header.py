"""What the versions of ring files have in common: devices, and how much there may be of anything."""

from __future__ import annotations

from typing import Annotated, Final

from msgspec import Meta, Struct

from objstore.devices import Device

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
