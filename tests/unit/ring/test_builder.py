from __future__ import annotations

import dataclasses

import msgspec
import numpy as np
import pytest

from objstore.ring.builder import RingBuilder, new_builder
from objstore.ring.errors import BuilderError
from objstore.ring.settings import RingSettings
from tests.unit.ring.factories import make_device, make_devices

NOW = 1_000_000_000
HOUR = 3600


def balanced(devices: int = 8, **changes: float) -> RingBuilder:
    builder = new_builder(RingSettings(8, 3, min_part_hours=1), make_devices(devices))
    builder.set(dataclasses.replace(builder.settings, **changes))
    builder.rebalance(1, NOW)
    return builder


def test_a_ring_needs_a_rebalance() -> None:
    builder = new_builder(RingSettings(8, 3), make_devices(4))
    with pytest.raises(BuilderError, match="never balanced"):
        builder.ring()
    builder.rebalance(1, NOW)
    assert builder.ring().replica_count == 3


def test_every_change_raises_the_version() -> None:
    builder = balanced()
    before = builder.version
    builder.add(make_device(20, ip="10.0.0.20"))
    builder.set_weight(20, 5)
    builder.replace(msgspec.structs.replace(builder.devices[20], zone=9))
    builder.remove(20)
    builder.rebalance(1, NOW)
    assert builder.version == before + 5
    assert builder.ring().version == builder.version


def test_a_plan_changes_nothing() -> None:
    builder = balanced()
    builder.add(make_device(20, ip="10.0.0.20"))
    version, layout = builder.version, builder.layout
    plan = builder.plan(1, NOW + 2 * HOUR)
    assert plan.moved_count == 3 * 256 // 9 or plan.moved_count == 3 * 256 // 9 + 1
    assert plan.before is not None
    assert plan.before.balance == 100
    assert plan.after.balance < 2
    assert (builder.version, builder.layout) == (version, layout)


def test_nothing_moves_within_min_part_hours() -> None:
    builder = balanced()
    builder.add(make_device(20, ip="10.0.0.20"))
    assert builder.plan(1, NOW + HOUR - 1).moved_count == 0
    assert builder.plan(1, NOW + HOUR + 1).moved_count > 0
    builder.pretend_min_part_hours_passed()
    assert builder.plan(1, NOW + 1).moved_count > 0


def test_removed_devices_leave_at_once_and_are_forgotten() -> None:
    builder = balanced()
    builder.remove(3)
    assert 3 in {device.id for device in builder.ring().devices}
    builder.rebalance(1, NOW)
    assert 3 not in builder.devices
    assert 3 not in {device.id for device in builder.ring().devices}


def test_partitions_that_lost_a_device_help_no_other_to_find_a_place() -> None:
    places = [(1, 3), (1, 2), (1, 1), (0, 2), (1, 3), (1, 2), (1, 2), (0, 3)]
    devices = [make_device(each, *place, ip=f"10.{place[0]}.{place[1]}.0") for each, place in enumerate(places)]
    builder = new_builder(RingSettings(4, 2, min_part_hours=1), devices)
    before = builder.rebalance(33, NOW).layout.ids
    builder.set_weight(4, 300)
    for gone in (3, 5):
        builder.remove(gone)
    after = builder.rebalance(33, NOW + 2 * HOUR).layout.ids
    lost = np.isin(before, (3, 5))
    assert lost.any()
    assert not ((before != after) & ~lost)[:, lost.any(axis=0)].any()


def test_a_drained_device_stays_in_the_ring() -> None:
    builder = balanced()
    builder.set_weight(3, 0)
    builder.rebalance(1, NOW + 2 * HOUR)
    assert 3 in {device.id for device in builder.ring().devices}
    assert builder.layout is not None
    assert builder.layout.held(8)[3] == 0


def test_the_place_of_a_removed_device_can_be_taken_under_a_new_id() -> None:
    builder = balanced()
    device = builder.devices[3]
    builder.remove(3)
    builder.add(msgspec.structs.replace(device, id=builder.next_id))
    builder.rebalance(1, NOW)
    assert sorted(builder.devices) == [0, 1, 2, 4, 5, 6, 7, 8]


def test_refused_changes_leave_the_builder_as_it_was() -> None:
    builder = balanced()
    before = dataclasses.replace(builder)
    first = builder.devices[0]
    for wrong, reason in (
        (first, "id 0 already"),
        (msgspec.structs.replace(first, id=99), "in the ring already, with the id 0"),
        (make_device(99, ip="300.1.1.1"), "neither an IP address nor"),
        (make_device(99, ip=""), "neither an IP address nor"),
        (make_device(99, weight=float("nan")), "weight"),
        (make_device(99, weight=-1), "weight"),
        (make_device(99, zone=-1), "zone"),
        (make_device(-1), "device id"),
        (msgspec.structs.replace(make_device(99), device="a/b"), "no name for a device"),
        (msgspec.structs.replace(make_device(99), device=".."), "no name for a device"),
        (msgspec.structs.replace(make_device(99), port=0), "port"),
    ):
        with pytest.raises(BuilderError, match=reason):
            builder.add(wrong)
    for change in (
        lambda: builder.set_weight(99, 1),
        lambda: builder.remove(99),
        lambda: builder.replace(make_device(99)),
    ):
        with pytest.raises(BuilderError, match="no device with the id 99"):
            change()
    with pytest.raises(BuilderError, match="part power"):
        builder.set(dataclasses.replace(builder.settings, part_power=9))
    assert (builder.version, builder.devices) == (before.version, before.devices)


@pytest.mark.parametrize(
    "numbers",
    [
        (-1, 3),
        (25, 3),
        (8, 0),
        (8, 0.5),
        (8, 300),
        (8, float("nan")),
        (8, 3, -1),
        (8, 3, 0, -0.1),
        (8, 3, 0, float("nan")),
    ],
)
def test_impossible_settings(numbers: tuple[float, ...]) -> None:
    with pytest.raises(BuilderError, match="must be"):
        RingSettings(int(numbers[0]), *numbers[1:])


@pytest.mark.parametrize("ip", ["10.0.0.1", "::1", "2001:db8::5", "storage-1", "storage1.example.com"])
def test_addresses_and_host_names(ip: str) -> None:
    new_builder(RingSettings(8, 1), [make_device(0, ip=ip)])


def test_a_new_device_is_filled_by_the_fewest_moves() -> None:
    devices = [
        make_device(number, 1, number % 5, f"10.0.{number % 5}.{number // 25}", 50.0 * (1 + number % 4))
        for number in range(101)
    ]
    builder = new_builder(RingSettings(14, 3), devices[:100])
    builder.rebalance(1, NOW)
    builder.add(devices[100])
    plan = builder.rebalance(1, NOW + 1)
    least = 3 * 2**14 * devices[100].weight / sum(device.weight for device in devices)
    assert plan.moved_count <= 1.05 * least
    assert plan.after.dispersion == 0
    assert abs(plan.layout.held(101)[100] - least) <= 1
