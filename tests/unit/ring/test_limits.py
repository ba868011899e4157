from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from objstore.ring.builder import RingBuilder, increase, new_builder, prepare_increase
from objstore.ring.builderfile import load_builder, save_builder
from objstore.ring.errors import BuilderError
from objstore.ring.settings import RingSettings
from tests.unit.ring.factories import make_devices

NOW = 1_000_000_000
HOUR = 3600


def limited(replicas: float = 3, limit: int = 40) -> RingBuilder:
    """Eight equal devices of which one may have no more than so many of the 256 partitions."""
    builder = new_builder(RingSettings(8, replicas, min_part_hours=1), make_devices(8))
    builder.set_limit(5, limit)
    return builder


def held(builder: RingBuilder) -> list[int]:
    assert builder.layout is not None
    return builder.layout.held(max(builder.devices) + 1).tolist()


@pytest.mark.parametrize("replicas", [1, 2.5, 3, 3.7])
def test_a_device_gets_no_more_than_its_limit_and_others_make_up_for_it(replicas: float) -> None:
    builder = limited(replicas, 30)
    plan = builder.rebalance(1, NOW)
    counts = held(builder)
    assert counts[5] == 30
    rest = [count for number, count in enumerate(counts) if number != 5]
    assert sum(counts) == round(256 * replicas)
    assert max(rest) - min(rest) <= 2
    assert plan.after.limited_devices == 1
    assert plan.after.balance < 100 * 1 / 30


def test_a_limit_above_the_share_changes_nothing() -> None:
    plan = limited(limit=100).rebalance(1, NOW)
    assert plan.after.limited_devices == 0
    assert (plan.layout.ids == new_builder(RingSettings(8, 3), make_devices(8)).rebalance(1, NOW).layout.ids).all()


def test_a_new_limit_drains_what_is_beyond_it_and_lifting_it_brings_it_back() -> None:
    builder = limited(limit=96)
    builder.rebalance(1, NOW)
    builder.set_limit(5, 50)
    plan = builder.rebalance(1, NOW + 2 * HOUR)
    assert held(builder)[5] == 50
    assert plan.moved_count == 46
    builder.set_limit(5, None)
    builder.rebalance(1, NOW + 4 * HOUR)
    assert held(builder)[5] == 96


def test_what_removed_devices_held_goes_to_those_below_their_limits() -> None:
    builder = limited(limit=96)
    for device_id in (0, 1, 2):
        builder.set_limit(device_id, 100)
    builder.rebalance(1, NOW)
    builder.remove(7)
    # Everything is locked but what must leave the removed device.
    builder.rebalance(1, NOW + 1)
    counts = held(builder)
    assert counts[5] == 96
    assert max(counts[:3]) <= 100


def test_limits_that_leave_too_little_room_are_refused() -> None:
    builder = new_builder(RingSettings(8, 3), make_devices(4))
    for device_id in range(4):
        builder.set_limit(device_id, 180)
    with pytest.raises(BuilderError, match="limits of devices leave no place for 48 replicas"):
        builder.rebalance(1, NOW)
    assert builder.layout is None


def test_limits_are_checked() -> None:
    builder = limited()
    version = builder.version
    with pytest.raises(BuilderError, match="must be 0 partitions or more"):
        builder.set_limit(5, -1)
    with pytest.raises(BuilderError, match="no device with the id 99"):
        builder.set_limit(99, 1)
    assert (builder.limits, builder.version) == ({5: 40}, version)


def test_limits_are_stored_follow_the_part_power_and_go_with_their_device(tmp_path: Path) -> None:
    builder = limited()
    builder.rebalance(1, NOW)
    path = str(tmp_path / "object.builder")
    save_builder(builder, path, "create", NOW)
    again = load_builder(path)
    assert again.limits == {5: 40}
    prepare_increase(again)
    increase(again)
    assert again.limits == {5: 80}
    again.remove(5)
    assert again.limits == {}


def test_a_limit_holds_when_the_replica_count_changes() -> None:
    builder = limited(2.5, 50)
    for hours, replicas in enumerate((3.0, 3.75, 2.25, 2.0)):
        builder.set(dataclasses.replace(builder.settings, replicas=replicas))
        builder.rebalance(1, NOW + 2 * hours * HOUR)
        assert held(builder)[5] <= 50
