"""The builder: devices come, go and change; a rebalance brings the layout after them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt

from objstore.devices import Device
from objstore.ring.build import ring_of
from objstore.ring.checks import check_device, check_weight
from objstore.ring.errors import BuilderError, require
from objstore.ring.layout import Layout, first_layout, next_layouts
from objstore.ring.moves import arrivals
from objstore.ring.quality import Quality, quality_of
from objstore.ring.ring import Ring
from objstore.ring.settings import Settings
from objstore.ring.tiers import Bools, Tiers, make_tiers

SECONDS_PER_HOUR: Final = 3600
Seconds = npt.NDArray[np.uint32]


class Entry(msgspec.Struct, frozen=True):
    """A change in the history of a builder: which version it made, when, and what was done."""

    version: int
    seconds: float
    what: str


@dataclass(frozen=True, eq=False)
class Plan:
    """What a rebalance would do, not done yet. `before` is None for the first one."""

    layout: Layout
    moved: Bools
    before: Quality | None
    after: Quality

    @property
    def moved_count(self) -> int:
        """Replicas that get another device."""
        return int(np.count_nonzero(self.moved))


@dataclass(eq=False)
class RingBuilder:
    """Devices, settings, the layout, and when each partition was last moved. Every change raises the version.

    `saved_version` is the version of the file the builder was loaded from, 0 if it is new.

    `limits` has, for some device ids, the most partitions the device may get, whatever its weight.

    `devices` includes those in `removed`, whose replicas the next rebalance moves away and which it then forgets.
    Methods that cannot do what is asked raise BuilderError and change nothing.
    """

    settings: Settings
    devices: dict[int, Device] = field(default_factory=dict)
    removed: set[int] = field(default_factory=set)
    layout: Layout | None = None
    moved_at: Seconds | None = None
    version: int = 0
    next_part_power: int | None = None
    next_id: int = 0
    history: list[Entry] = field(default_factory=list)
    saved_version: int = 0
    limits: dict[int, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._places = {_place(device): device.id for device in self.remaining}

    def add(self, device: Device) -> None:
        """Add a device under its own id, which must be new; see `next_id`."""
        if device.id in self.devices:
            raise BuilderError(f"there is a device with the id {device.id} already")
        check_device(device)
        self._occupy(device)
        self.devices[device.id] = device
        self.next_id = max(self.next_id, device.id + 1)
        self.version += 1

    def replace(self, device: Device) -> None:
        """Change anything of a device but its id. A new region, zone or ip counts from the next rebalance on."""
        old = self._existing(device.id)
        check_device(device)
        self._occupy(device)
        if _place(old) != _place(device):
            del self._places[_place(old)]
        self.devices[device.id] = device
        self.version += 1

    def set_weight(self, device_id: int, weight: float) -> None:
        """Weight 0 drains a device: its replicas leave as min_part_hours allows."""
        check_weight(weight)
        self.devices[device_id] = msgspec.structs.replace(self._existing(device_id), weight=weight)
        self.version += 1

    def set_limit(self, device_id: int, partitions: int | None) -> None:
        """No rebalance gives the device more partitions than that; None lifts the limit.

        What a device holds beyond a new limit leaves as min_part_hours allows.
        """
        require(partitions is None or partitions >= 0, f"a limit must be 0 partitions or more, not {partitions}")
        self._existing(device_id)
        self.limits.pop(device_id, None)
        if partitions is not None:
            self.limits[device_id] = partitions
        self.version += 1

    def remove(self, device_id: int) -> None:
        """Let the next rebalance move everything off a device at once, and forget it."""
        self.devices[device_id] = msgspec.structs.replace(self._existing(device_id), weight=0.0)
        self.removed.add(device_id)
        self.limits.pop(device_id, None)
        del self._places[_place(self.devices[device_id])]
        self.version += 1

    def set(self, settings: Settings) -> None:
        """Change settings; they count from the next rebalance on. The part power has its own procedure."""
        require(settings.part_power == self.settings.part_power, "the part power cannot be set, only increased")
        self.settings = settings
        self.version += 1

    def pretend_min_part_hours_passed(self) -> None:
        """Unlock all partitions. Replicas that are still under way may then be moved on: data can be out of reach."""
        if self.moved_at is not None:
            self.moved_at[:] = 0

    @property
    def remaining(self) -> list[Device]:
        """The devices that are not removed."""
        return [device for device_id, device in self.devices.items() if device_id not in self.removed]

    @property
    def tiers(self) -> Tiers:
        return make_tiers(self.devices.values(), self.limits)

    def locked(self, now_seconds: float) -> Bools:
        """By partition: whether a replica of it was moved less than min_part_hours ago."""
        if self.moved_at is None:
            return np.zeros(self.settings.partition_count, np.bool_)
        unlocked_before = now_seconds - self.settings.min_part_hours * SECONDS_PER_HOUR
        return np.greater(self.moved_at, max(unlocked_before, 0))

    def plan(self, seed: int, now_seconds: float) -> Plan:
        """What a rebalance would do. The same builder, seed and locked partitions give the same plan."""
        self._expect_no_increase()
        tiers, random = self.tiers, np.random.default_rng(seed)
        if self.layout is None:
            layout = first_layout(self.settings, tiers, random)
            return Plan(layout, arrivals(None, layout), None, quality_of(layout, tiers))
        gone = np.zeros(len(tiers.weights), np.bool_)
        gone[list(self.removed)] = True
        before, plans = quality_of(self.layout, tiers), []
        for layout in next_layouts(self.layout, self.settings, tiers, gone, self.locked(now_seconds), random):
            plans.append(Plan(layout, arrivals(self.layout, layout), before, quality_of(layout, tiers)))
            if not plans[-1].moved_count:
                return plans[-1]
        return min(plans, key=lambda plan: (plan.after.dispersion, plan.after.balance, plan.moved_count))

    def adopt(self, plan: Plan, now_seconds: float) -> None:
        """Do what was planned."""
        if self.moved_at is None:
            self.moved_at = np.zeros(self.settings.partition_count, np.uint32)
        self.moved_at[plan.moved.any(axis=0)] = math.floor(now_seconds)
        self.layout = plan.layout
        for device_id in self.removed:
            del self.devices[device_id]
        self.removed.clear()
        self.version += 1

    def rebalance(self, seed: int, now_seconds: float) -> Plan:
        """plan() and adopt()."""
        plan = self.plan(seed, now_seconds)
        self.adopt(plan, now_seconds)
        return plan

    def ring(self) -> Ring:
        """The ring to give to servers; devices removed since the last rebalance are still in it, with weight 0."""
        if self.layout is None:
            raise BuilderError("the ring was never balanced: rebalance it first")
        return ring_of(self.layout, self.devices.values(), self.version, self.next_part_power)

    def _occupy(self, device: Device) -> None:
        """Note that the device is where it is; raises BuilderError when another one is there."""
        there = self._places.setdefault(_place(device), device.id)
        where = f"{device.device} on {device.address}"
        require(there == device.id, f"{where} is in the ring already, with the id {there}")

    def _existing(self, device_id: int) -> Device:
        if device_id not in self.devices or device_id in self.removed:
            raise BuilderError(f"there is no device with the id {device_id}")
        return self.devices[device_id]

    def _expect_no_increase(self) -> None:
        if self.next_part_power is not None:
            raise BuilderError("the part power is being increased: finish or cancel that first")


def _place(device: Device) -> tuple[str, int, str]:
    return device.ip, device.port, device.device


def new_builder(settings: Settings, devices: Iterable[Device] = ()) -> RingBuilder:
    """A builder with these devices and no layout yet."""
    builder = RingBuilder(settings)
    for device in devices:
        builder.add(device)
    return builder
