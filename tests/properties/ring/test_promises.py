"""What an operator may rely on, whatever is done to a cluster."""

from __future__ import annotations

from random import Random

import msgspec
import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from objstore.ring.builder import RingBuilder
from objstore.ring.quality import shares_by_weight
from objstore.ring.ring import compose
from objstore.ring.settings import RingSettings
from tests.properties.ring.clusters import HOUR, START, change_something, clusters, has_enough_devices

seeds = st.integers(0, 2**32)
some = settings(max_examples=25, deadline=None)


def settle(builder: RingBuilder, seed: int) -> None:
    for hours in range(2, 60, 2):
        if not builder.rebalance(seed, START + hours * HOUR).moved_count:
            return
    raise AssertionError("it still moves after 29 rebalances")


@some
@given(clusters(), seeds)
def test_a_partition_that_lost_a_device_moves_nothing_else(builder: RingBuilder, seed: int) -> None:
    before = builder.rebalance(seed, START).layout
    random = Random(seed)
    for _ in range(2):
        change_something(builder, random)
    assume(len(builder.remaining) > 1)
    builder.remove(random.choice([device.id for device in builder.remaining]))
    assume(has_enough_devices(builder))
    removed = list(builder.removed)
    after = builder.rebalance(seed, START + 2 * HOUR).layout
    lost = np.isin(before.ids, removed)
    moved = (before.ids != after.ids) & ~lost
    assert (moved.sum(axis=0) <= np.where(lost.any(axis=0), 0, 1)).all()


@some
@given(clusters(), seeds, st.integers(1, 5))
def test_devices_without_weight_are_drained_wholly(builder: RingBuilder, seed: int, count: int) -> None:
    builder.rebalance(seed, START)
    assume(count <= len(builder.devices) - builder.settings.replicas)
    drained = Random(seed).sample(list(builder.devices), count)
    for device_id in drained:
        builder.set_weight(device_id, 0.0)
    settle(builder, seed)
    assert builder.layout
    assert not np.isin(builder.layout.ids, drained).any()


@some
@given(clusters(), seeds)
def test_no_device_gets_more_than_weight_and_overload_entitle_it_to(builder: RingBuilder, seed: int) -> None:
    builder.rebalance(seed, START)
    change_something(builder, Random(seed))
    assume(has_enough_devices(builder))
    settle(builder, seed)
    assert builder.layout
    most = shares_by_weight(builder.settings, builder.tiers) * (1 + builder.settings.overload)
    # Each kind of partition is rounded by itself when the replica count is fractional.
    assert (builder.layout.held(len(most)) < most + len(builder.settings.replica_counts) + 1e-6).all()


@some
@given(st.lists(clusters(), min_size=2, max_size=3), seeds)
def test_a_composite_ring_places_each_components_replicas_as_the_component_does(
    builders: list[RingBuilder], seed: int
) -> None:
    rings = []
    for number, builder in enumerate(builders):
        builder.settings = RingSettings(5, float(int(builder.settings.replicas)))
        for device in list(builder.devices.values()):
            builder.replace(msgspec.structs.replace(device, region=number, device=f"{number}{device.device}"))
        builder.rebalance(seed, START)
        rings.append(builder.ring())
    ring = compose(rings, 1)
    for partition in range(ring.partition_count):
        names = [(device.region, device.ip, device.device) for device in ring.primaries(partition)]
        parts = [device for each in rings for device in each.primaries(partition)]
        assert names == [(device.region, device.ip, device.device) for device in parts]
