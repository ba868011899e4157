"""Replays a scenario: devices come, fail and go, data grows, the ring is rebalanced, copies take their time."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from itertools import count
from typing import Final

import numpy as np
from msgspec import Struct

from objstore.devices import Device
from objstore.ring.builder import new_builder
from objstore.ring.errors import BuilderError
from objstore.ring.quality import quality_of
from objstore.ring.settings import RingSettings
from objstore.ring.tiers import Bools, Floats, Ids
from objstore.tools.ring.scenario import Happening, Scenario

DAY_SECONDS: Final = 86_400.0
DAYS_A_YEAR: Final = 365.0
LONG_AGO_SECONDS: Final = 0.0
FIRST_DAY_SECONDS: Final = 1e9
SERVERS_MAX: Final = 65_000
PORT: Final = 6200
MOMENTS_MAX: Final = 200  # at which exposure is looked at between two events


class ReplayStep(Struct, frozen=True):
    """What one event did. `exposed` is by replicas lost at a time, from 1 on: how many partitions have lost so many."""

    day: float
    what: str
    devices: int
    balance: float
    dispersion: float
    moved_replicas: int
    moved_bytes: float
    fullest_bytes: float
    mean_bytes: float
    exposed: list[int]


class Exposure(Struct, frozen=True):
    """Over all: partition-hours with so many replicas lost, the most partitions at a time, and hours there were any."""

    replicas_lost: int
    partition_hours: float
    partitions_most: int
    hours: float


class ReplayOutcome(Struct, frozen=True):
    steps: list[ReplayStep]
    exposure: list[Exposure]
    moved_bytes: float
    rebuilt_bytes: float
    rebalances: int
    devices_lost: int


class Replay:
    """One replay. The same scenario gives the same outcome.

    A replica is lost when its device fails, and is whole again when it has been copied: to the device that took its
    place, or to the one that got the partition. Every device takes in copies at the given rate; the copies that a
    device needs are made in the order of partitions, and those of a rebalance leave no replica lost.
    """

    def __init__(self, scenario: Scenario) -> None:
        """Raises BuilderError when the first devices make no ring."""
        self._scenario = scenario
        self._random = random.Random(scenario.seed)
        self._queue: list[tuple[float, int, str, Callable[[], str | None]]] = []
        self._order = count()
        self._servers = count()
        self._failed: list[int] = []
        shape = scenario.ring
        self._builder = new_builder(
            RingSettings(shape.part_power, shape.replicas, shape.min_part_hours, shape.overload)
        )
        self._day = 0.0
        for group in scenario.devices:
            self._add(group.region, group.zone, group.servers, group.devices, group.weight)
        self._builder.rebalance(self._seed(), LONG_AGO_SECONDS)
        assert self._builder.layout is not None
        # The day on which each replica is whole again; that is long ago for most.
        self._whole_at: Floats = np.full(self._builder.layout.ids.shape, -1.0)
        self._steps: list[ReplayStep] = []
        self._lost_hours: dict[int, list[float]] = {}
        self._moved = self._rebuilt = 0.0
        self._rebalances = self._lost = 0

    def run(self, advance: Callable[[float], None]) -> ReplayOutcome:
        """All of it; `advance` is called with the days that passed."""
        self._schedule()
        self._note("begin", 0, 0.0)
        while self._queue and self._queue[0][0] <= self._scenario.days:
            day, _, _, act = heapq.heappop(self._queue)
            self._pass_until(day)
            advance(day - self._day)
            self._day = day
            what = act()
            if what is not None:
                self._rebalance(what)
        self._pass_until(self._scenario.days)
        self._day = self._scenario.days
        self._note("end", 0, 0.0)
        return ReplayOutcome(self._steps, self._exposures(), self._moved, self._rebuilt, self._rebalances, self._lost)

    def _schedule(self) -> None:
        for happening in self._scenario.events:
            self._at(happening.day, happening.what, lambda happening=happening: self._happen(happening))  # type: ignore[misc]
        self._at(self._scenario.rebalance_every / DAY_SECONDS, "rebalance", self._regular)
        for device_id in list(self._builder.devices):
            self._expect_failure(device_id)

    def _at(self, day: float, what: str, act: Callable[[], str | None]) -> None:
        heapq.heappush(self._queue, (day, next(self._order), what, act))

    def _regular(self) -> str:
        self._at(self._day + self._scenario.rebalance_every / DAY_SECONDS, "rebalance", self._regular)
        return "rebalance"

    def _happen(self, happening: Happening) -> str | None:
        if happening.every_days:
            self._at(self._day + happening.every_days, happening.what, lambda: self._happen(happening))
        match happening.what:
            case "add":
                assert happening.zone is not None
                return self._add(
                    happening.region, happening.zone, happening.servers, happening.devices, happening.weight
                )
            case "lose":
                return self._lose_some(happening)
            case "replace":
                self._replace_all()
                return None
            case "remove":
                return self._remove_all()
            case "reweight":
                return self._reweight(happening)

    def _add(self, region: int, zone: int, servers: int, devices: int, weight: float) -> str:
        for _ in range(servers):
            number = next(self._servers) % SERVERS_MAX
            ip = f"10.{region % 256}.{number // 250}.{number % 250 + 1}"
            for place in range(devices):
                device_id = self._builder.next_id
                device = Device(device_id, region, zone, ip, PORT, ip, PORT, f"d{place + 1}", weight)
                self._builder.add(device)
                if self._day:
                    self._expect_failure(device_id)
        return f"{servers * devices} devices added in r{region}z{zone}"

    def _reweight(self, happening: Happening) -> str:
        for device in self._builder.remaining:
            if (device.region, device.zone) == (happening.region, happening.zone):
                self._builder.set_weight(device.id, happening.weight)
        return f"weight {happening.weight:g} in r{happening.region}z{happening.zone}"

    def _lose_some(self, happening: Happening) -> str | None:
        chosen = [
            device.id
            for device in self._builder.remaining
            if device.id not in self._failed
            and (happening.zone is None or (device.region, device.zone) == (happening.region, happening.zone))
        ]
        lost = self._random.sample(sorted(chosen), min(happening.devices, len(chosen)))
        for device_id in lost:
            self._fail(device_id)
        self._note(f"{len(lost)} devices lost", 0, 0.0)
        return None

    def _expect_failure(self, device_id: int) -> None:
        rate = self._scenario.failures.per_device_and_year
        if rate:
            day = self._day + self._random.expovariate(rate / DAYS_A_YEAR)
            self._at(day, "failure", lambda: self._fails_by_chance(device_id))

    def _fails_by_chance(self, device_id: int) -> str | None:
        if device_id not in self._builder.devices or device_id in self._builder.removed or device_id in self._failed:
            return None
        self._fail(device_id)
        self._note(f"device {device_id} lost", 0, 0.0)
        day = self._day + self._scenario.failures.replaced_after_days
        self._at(day, "replace", lambda: self._replaced(device_id))
        return None

    def _fail(self, device_id: int) -> None:
        self._failed.append(device_id)
        self._lost += 1
        self._whole_at[self._ids() == device_id] = np.inf

    def _replaced(self, device_id: int) -> str | None:
        """An empty device takes the place of one that failed: it is filled again, and nothing else moves."""
        if device_id not in self._failed or device_id not in self._builder.devices:
            return None
        self._failed.remove(device_id)
        self._fill(self._ids() == device_id)
        self._expect_failure(device_id)
        self._note(f"device {device_id} replaced", 0, 0.0)
        return None

    def _replace_all(self) -> None:
        for device_id in list(self._failed):
            self._replaced(device_id)

    def _remove_all(self) -> str:
        gone = list(self._failed)
        for device_id in gone:
            self._builder.remove(device_id)
            self._failed.remove(device_id)
        return f"{len(gone)} devices removed"

    def _rebalance(self, what: str) -> None:
        """Rebalance, and let the copies begin."""
        now = FIRST_DAY_SECONDS + self._day * DAY_SECONDS
        before = self._ids().copy()
        try:
            plan = self._builder.plan(self._seed(), now)
        except BuilderError as error:
            self._note(f"{what}; no rebalance: {error}", 0, 0.0)
            return
        if not plan.moved_count and not self._builder.removed and what == "rebalance":
            return
        self._builder.adopt(plan, now)
        self._rebalances += 1
        self._carry_over(before)
        size = plan.moved_count * self._replica_bytes
        self._moved += size
        self._note(what, plan.moved_count, size)

    def _carry_over(self, before: Ids) -> None:
        """Replicas that were lost and have a new device now are copied there; the others are as they were."""
        after = self._ids()
        whole_at = np.full(after.shape, -1.0)
        new, old = after != np.iinfo(after.dtype).max, before != np.iinfo(before.dtype).max
        for row in range(len(after)):
            for earlier in range(len(before)):
                same = new[row] & old[earlier] & (after[row] == before[earlier])
                whole_at[row, same] = self._whole_at[earlier, same]
                new[row, same] = old[earlier, same] = False
        lost = np.count_nonzero(old & (self._whole_at > self._day), axis=0)
        self._whole_at = whole_at
        self._fill(new & (new.cumsum(axis=0) <= lost))
        self._whole_at[np.isin(after, self._failed)] = np.inf

    def _fill(self, which: Bools) -> None:
        """Copy lost replicas to their devices, each device at the given rate."""
        ids = self._ids()
        seconds_each = self._replica_bytes / max(self._scenario.data.rate, 1)
        rows, partitions = np.nonzero(which)
        self._rebuilt += len(rows) * self._replica_bytes
        done: dict[int, int] = {}
        for row, partition in zip(rows.tolist(), partitions.tolist(), strict=True):
            device_id = int(ids[row, partition])
            done[device_id] = done.get(device_id, 0) + 1
            self._whole_at[row, partition] = self._day + done[device_id] * seconds_each / DAY_SECONDS

    def _pass_until(self, day: float) -> None:
        """Add up how long how many replicas of how many partitions are lost until that day."""
        under_way = self._whole_at > self._day
        columns = under_way.any(axis=0)
        if not columns.any():
            return
        times = np.minimum(self._whole_at[:, columns], day)
        moments = np.unique(np.append(times[(times > self._day) & (times < day)], [self._day, day]))
        if len(moments) > MOMENTS_MAX:
            moments = np.unique(np.append(np.quantile(moments, np.linspace(0, 1, MOMENTS_MAX)), [self._day, day]))
        for begin, end in zip(moments[:-1].tolist(), moments[1:].tolist(), strict=True):
            lost = np.count_nonzero(self._whole_at[:, columns] > begin, axis=0)
            for replicas, partitions in enumerate(np.bincount(lost)[1:].tolist(), 1):
                if partitions:
                    total = self._lost_hours.setdefault(replicas, [0.0, 0.0, 0.0])
                    total[0] += partitions * (end - begin) * 24
                    total[1] = max(total[1], partitions)
                    total[2] += (end - begin) * 24

    def _exposures(self) -> list[Exposure]:
        return [
            Exposure(replicas, partition_hours, int(most), hours)
            for replicas, (partition_hours, most, hours) in sorted(self._lost_hours.items())
        ]

    def _note(self, what: str, moved: int, moved_bytes: float) -> None:
        layout = self._builder.layout
        assert layout is not None
        tiers = self._builder.tiers
        quality = quality_of(layout, tiers)
        held = (
            layout.held(len(tiers.weights))[tiers.usable] if tiers.usable_count else np.zeros(1)
        ) * self._replica_bytes
        lost = np.count_nonzero(self._whole_at > self._day, axis=0)
        self._steps.append(
            ReplayStep(
                day=self._day,
                what=what,
                devices=len(self._builder.remaining) - len(self._failed),
                balance=quality.balance,
                dispersion=quality.dispersion,
                moved_replicas=moved,
                moved_bytes=moved_bytes,
                fullest_bytes=float(held.max()),
                mean_bytes=float(held.mean()),
                exposed=np.bincount(lost)[1:].tolist(),
            )
        )

    @property
    def _replica_bytes(self) -> float:
        """What a replica of a partition holds on this day."""
        data, settings = self._scenario.data, self._builder.settings
        used = data.used + data.growth_per_day * self._day
        return used / (settings.partition_count * settings.exact_replicas)

    def _ids(self) -> Ids:
        assert self._builder.layout is not None
        return self._builder.layout.ids

    def _seed(self) -> int:
        return self._random.getrandbits(32)
