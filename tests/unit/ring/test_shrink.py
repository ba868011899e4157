from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from objstore.ring.builder import RingBuilder, new_builder
from objstore.ring.moves import arrivals, moves_between
from objstore.ring.settings import RingSettings
from tests.unit.ring.factories import make_devices

NOW = 1_000_000_000
HOUR = 3600


def balanced(replicas: float) -> RingBuilder:
    builder = new_builder(RingSettings(10, replicas, min_part_hours=1), make_devices(24))
    builder.rebalance(1, NOW)
    return builder


@pytest.mark.parametrize(("before", "after"), [(3, 2), (3.5, 3), (3.75, 3.25), (4, 2.5), (3, 1), (2.5, 2)])
def test_next_to_nothing_moves_and_the_ring_is_as_good_as_a_new_one(before: float, after: float) -> None:
    builder = balanced(before)
    old = builder.layout
    assert old is not None
    builder.set(dataclasses.replace(builder.settings, replicas=after))
    plan = builder.rebalance(1, NOW + 2 * HOUR)
    moves = moves_between(old, plan.layout, builder.tiers)
    assert moves.departures.sum() - moves.count == round(1024 * (before - after))
    assert moves.count <= 0.006 * 1024 * after
    assert plan.after.dispersion == 0
    assert plan.after.balance < 100 * len(plan.layout.settings.replica_counts) / (1024 * after / 24)


def test_crowded_replicas_go_first() -> None:
    builder = balanced(3)
    layout = builder.layout
    assert layout is not None
    # In every fourth partition, the first two replicas share a server.
    zone, server = builder.tiers.nodes[1], builder.tiers.nodes[2]
    for partition in range(0, 1024, 4):
        first = layout.ids[0, partition]
        layout.ids[1, partition] = next(
            other for other in range(24) if other != first and server[other] == server[first]
        )
    builder.set(dataclasses.replace(builder.settings, replicas=2))
    # Nothing may move, so all depends on what goes.
    plan = builder.rebalance(1, NOW + 1)
    assert plan.moved_count == 0
    assert not (zone[plan.layout.ids[0]] == zone[plan.layout.ids[1]]).any()


def test_replicas_of_removed_devices_go_first() -> None:
    builder = balanced(3)
    old = builder.layout
    assert old is not None
    builder.remove(7)
    builder.set(dataclasses.replace(builder.settings, replicas=2))
    plan = builder.rebalance(1, NOW + 1)
    assert not (plan.layout.ids == 7).any()
    assert not arrivals(old, plan.layout).any()
    assert np.count_nonzero(old.ids == 7) > 0
