"""A scenario file: a ring, and what happens to its devices over days and years."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from msgspec import Meta, Struct

from objstore.config.units import Bytes, Seconds
from objstore.ring.settings import PART_POWER_MAX

DAYS_MAX: Final = 36_500
Day = Annotated[float, Meta(ge=0, le=DAYS_MAX)]
Number = Annotated[int, Meta(ge=1, le=100_000)]


class RingShape(Struct, frozen=True, forbid_unknown_fields=True):
    """[ring]: `overload` is a share."""

    part_power: Annotated[int, Meta(ge=0, le=PART_POWER_MAX)]
    replicas: Annotated[float, Meta(ge=1, le=256)] = 3.0
    min_part_hours: Annotated[float, Meta(ge=0)] = 24.0
    overload: Annotated[float, Meta(ge=0)] = 0.0


class Data(Struct, frozen=True, forbid_unknown_fields=True):
    """[data]: what is stored, replicas counted, at first and in addition each day; how fast a device is filled."""

    used: Bytes
    growth_per_day: Bytes = 0
    rate: Bytes = 100_000_000


class Group(Struct, frozen=True, forbid_unknown_fields=True):
    """[[devices]]: servers of a zone that are there from the first day on; each has a number of devices."""

    zone: Annotated[int, Meta(ge=0)]
    servers: Number
    devices: Number
    region: Annotated[int, Meta(ge=0)] = 1
    weight: Annotated[float, Meta(ge=0)] = 100.0


class Failures(Struct, frozen=True, forbid_unknown_fields=True):
    """[failures]: devices that are lost by chance; each is replaced by an empty one after so many days."""

    per_device_and_year: Annotated[float, Meta(ge=0, le=100)] = 0.0
    replaced_after_days: Day = 1.0


class Happening(Struct, frozen=True, forbid_unknown_fields=True):
    """[[events]]: on a day, and every so many days after it if `every_days` is more than 0.

    `add` adds servers as [[devices]] does. `lose` lets devices fail, chosen by chance from the zone, if one is given;
    `replace` brings empty devices in the place of those that failed. `remove` takes devices that failed out of the
    ring for good. `reweight` sets the weight of all devices of a zone.
    """

    day: Day
    what: Literal["add", "lose", "replace", "remove", "reweight"]
    every_days: Day = 0.0
    zone: Annotated[int, Meta(ge=0)] | None = None
    region: Annotated[int, Meta(ge=0)] = 1
    servers: Number = 1
    devices: Number = 1
    weight: Annotated[float, Meta(ge=0)] = 100.0

    def __post_init__(self) -> None:
        if self.what in ("add", "reweight") and self.zone is None:
            raise ValueError(f"the event {self.what} needs a zone")


class Scenario(Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file. Rebalances happen when devices change, and at intervals of `rebalance_every`."""

    days: Annotated[float, Meta(gt=0, le=DAYS_MAX)]
    ring: RingShape
    data: Data
    devices: Annotated[tuple[Group, ...], Meta(min_length=1)]
    rebalance_every: Seconds = 7 * 86_400.0
    seed: Annotated[int, Meta(ge=0)] = 1
    failures: Failures = Failures()
    events: tuple[Happening, ...] = ()
