"""The builder: devices come, go and change; a rebalance brings the layout after them."""

from __future__ import annotations

import dataclasses
import math
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt

from objstore.devices import Device
from objstore.ring.errors import BuilderError, require
from objstore.ring.layout import NARROW_ID_MAX, Layout, first_layout, next_layouts
from objstore.ring.moves import arrivals
from objstore.ring.quality import Quality, quality_of
from objstore.ring.ring import Ring
from objstore.ring.settings import PART_POWER_MAX, RingSettings, check_device, check_weight
from objstore.ring.tiers import Bools, Tiers, make_tiers


def build_ring(devices: Sequence[Device], part_power: int, replicas: float, seed: int, overload: float = 0.0) -> Ring:
    """Place all partitions on the devices by weight; the same arguments give the same ring.

    Raises BuilderError when no device has weight.
    """
    settings = RingSettings(part_power, replicas, overload=overload)
    return ring_of(first_layout(settings, make_tiers(devices), np.random.default_rng(seed)), devices, version=1)


def ring_of(layout: Layout, devices: Iterable[Device], version: int, next_part_power: int | None = None) -> Ring:
    rows = []
    for row in layout.rows():
        typecode = "H" if row.itemsize == 2 else "I"
        rows.append(array(typecode, row.tobytes()))
    return Ring(layout.settings.part_power, tuple(devices), rows, version, next_part_power)


SECONDS_PER_HOUR: Final = 3600
Seconds = npt.NDArray[np.uint32]


class HistoryEntry(msgspec.Struct, frozen=True):
    """A change in the history of a builder: which version it made, when, and what was done."""

    version: int
    seconds: float
    what: str


@dataclass(frozen=True, eq=False)
class RebalancePlan:
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

    settings: RingSettings
    devices: dict[int, Device] = field(default_factory=dict)
    removed: set[int] = field(default_factory=set)
    layout: Layout | None = None
    moved_at: Seconds | None = None
    version: int = 0
    next_part_power: int | None = None
    next_id: int = 0
    history: list[HistoryEntry] = field(default_factory=list)
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

    def set(self, settings: RingSettings) -> None:
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

    def plan(self, seed: int, now_seconds: float) -> RebalancePlan:
        """What a rebalance would do. The same builder, seed and locked partitions give the same plan.

        Raises BuilderError while the part power is increased, or when devices with weight are fewer than replicas.
        """
        self._expect_no_increase()
        tiers, random = self.tiers, np.random.default_rng(seed)
        self._expect_a_device_for_each_replica(tiers.usable_count)
        if self.layout is None:
            layout = first_layout(self.settings, tiers, random)
            return RebalancePlan(layout, arrivals(None, layout), None, quality_of(layout, tiers))
        gone = np.zeros(len(tiers.weights), np.bool_)
        gone[list(self.removed)] = True
        before, plans = quality_of(self.layout, tiers), []
        for layout in next_layouts(self.layout, self.settings, tiers, gone, self.locked(now_seconds), random):
            plans.append(RebalancePlan(layout, arrivals(self.layout, layout), before, quality_of(layout, tiers)))
            if not plans[-1].moved_count:
                return plans[-1]
        return min(plans, key=lambda plan: (plan.after.dispersion, plan.after.balance, plan.moved_count))

    def is_changed_by(self, plan: RebalancePlan) -> bool:
        """Whether any partition would have other devices."""
        return self.layout is None or not np.array_equal(self.layout.ids, plan.layout.ids)

    def adopt(self, plan: RebalancePlan, now_seconds: float) -> None:
        if self.moved_at is None:
            self.moved_at = np.zeros(self.settings.partition_count, np.uint32)
        self.moved_at[plan.moved.any(axis=0)] = math.floor(now_seconds)
        self.layout = plan.layout
        for device_id in self.removed:
            del self.devices[device_id]
        self.removed.clear()
        self.version += 1

    def rebalance(self, seed: int, now_seconds: float) -> RebalancePlan:
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

    def _expect_a_device_for_each_replica(self, usable: int) -> None:
        """Two replicas of a partition on one device are lost together, so no rebalance may place them there."""
        replicas = self.settings.replicas
        require(
            not usable or usable >= replicas,  # without any, `shares` has a reason of its own
            f"{replicas:g} replicas need {math.ceil(replicas)} devices with weight, and the ring has {usable}: "
            "add devices, give them weight, or set fewer replicas",
        )


def _place(device: Device) -> tuple[str, int, str]:
    return device.ip, device.port, device.device


def new_builder(settings: RingSettings, devices: Iterable[Device] = ()) -> RingBuilder:
    builder = RingBuilder(settings)
    for device in devices:
        builder.add(device)
    return builder


def prepare_increase(builder: RingBuilder) -> None:
    """Announce the next part power. Raises BuilderError when an increase is under way, or the ring is at its limit."""
    power = builder.settings.part_power
    require(builder.next_part_power is None, "the part power is being increased already")
    require(builder.layout is not None, "the ring was never balanced: rebalance it first")
    require(power < PART_POWER_MAX, f"the part power is {power} already, the largest there is")
    builder.next_part_power = power + 1
    builder.version += 1


def increase(builder: RingBuilder) -> None:
    """Double the partitions. Raises BuilderError unless the increase is prepared."""
    layout, settings = builder.layout, builder.settings
    require(builder.next_part_power == settings.part_power + 1, "prepare the increase of the part power first")
    if layout is None or builder.moved_at is None:
        raise AssertionError("a builder without a layout cannot be prepared")
    power = settings.part_power + 1
    doubled = dataclasses.replace(layout.settings, part_power=power)
    builder.layout = Layout(doubled, np.repeat(layout.ids, 2, axis=1))
    builder.moved_at = np.repeat(builder.moved_at, 2)
    builder.settings = dataclasses.replace(settings, part_power=power)
    builder.limits = {device_id: 2 * limit for device_id, limit in builder.limits.items()}
    builder.version += 1


def cancel_increase(builder: RingBuilder) -> None:
    """Go back before `increase`; the links made so far are cleaned up next. Raises BuilderError unless prepared."""
    power = builder.settings.part_power
    require(builder.next_part_power == power + 1, "only a prepared increase of the part power can be cancelled")
    builder.next_part_power = power
    builder.version += 1


def finish_increase(builder: RingBuilder) -> None:
    """End it, after `increase` or `cancel_increase` and the clean-up. Raises BuilderError at any other time."""
    require(builder.next_part_power == builder.settings.part_power, "there is no increase of the part power to finish")
    builder.next_part_power = None
    builder.version += 1


def restore_builder(
    settings: RingSettings, devices: Iterable[Device], rows: Sequence[array[int]], moved_at: Seconds | None = None
) -> RingBuilder:
    """A builder with these rows as its layout; they hold a device id for each partition, the last one may end early.

    `moved_at` is by partition, in seconds since the epoch; without it no partition is locked. Raises BuilderError
    when the rows fit neither the settings nor the devices.
    """
    by_id = {device.id: device for device in devices}
    largest = max(by_id, default=-1)
    layout = _layout(settings, rows, np.dtype(np.uint16 if largest <= NARROW_ID_MAX else np.uint32))
    strange = set(np.unique(layout.ids).tolist()) - by_id.keys() - {layout.nobody}
    require(not strange, f"partitions are on a device that does not exist, with the id {min(strange, default=0)}")
    if moved_at is None:
        moved_at = np.zeros(settings.partition_count, np.uint32)
    require(len(moved_at) == settings.partition_count, "the times of the last moves are not one for each partition")
    return RingBuilder(settings, by_id, layout=layout, moved_at=moved_at, next_id=largest + 1)


def builder_of_ring(ring: Ring, min_part_hours: float) -> RingBuilder:
    """What a ring knows of its builder. Raises BuilderError."""
    settings = RingSettings(ring.part_power, ring.replica_count, min_part_hours)
    builder = restore_builder(settings, ring.devices, ring.rows)
    builder.version, builder.next_part_power = ring.version, ring.next_part_power
    return builder


def _layout(settings: RingSettings, rows: Sequence[array[int]], dtype: np.dtype[np.unsignedinteger]) -> Layout:
    """The rows as a matrix. Its replica count is the one they have, whatever the settings want from now on."""
    partitions, nobody = settings.partition_count, np.iinfo(dtype).max
    lengths = [len(row) for row in rows]
    whole = lengths[:-1] == [partitions] * (len(rows) - 1)
    require(bool(rows) and whole and 0 < lengths[-1] <= partitions, f"the replicas do not have {partitions} partitions")
    ids = np.full((len(rows), partitions), nobody, dtype)
    for replica, row in enumerate(rows):
        values = np.asarray(row)
        # Such an id would be taken for a place without a replica, or be cut to another one.
        require(bool(np.all((values >= 0) & (values < nobody))), f"replica {replica} has partitions without a device")
        ids[replica, : len(row)] = values
    return Layout(dataclasses.replace(settings, replicas=sum(lengths) / partitions), ids)
