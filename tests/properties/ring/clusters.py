"""Random clusters, and what can be said of any layout on them, spelled out the slow way."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from random import Random

import numpy as np
from hypothesis import strategies as st

from objstore.devices import Device
from objstore.ring.builder import RingBuilder, new_builder
from objstore.ring.layout import Layout
from objstore.ring.settings import RingSettings
from objstore.ring.targets import Share, shares
from objstore.ring.tiers import LEVEL_NAMES, Ints, Tiers
from tests.unit.ring.factories import random_devices

HOUR = 3600
START = 1_000_000_000


@st.composite
def clusters(draw: st.DrawFn) -> RingBuilder:
    """A builder that was never balanced: up to 40 devices, up to 1,024 partitions, 1 to 4 replicas."""
    random = Random(draw(st.integers(0, 2**32)))
    weights = draw(st.sampled_from([(100.0,), (50.0, 100.0, 200.0), (1.0, 10.0, 1000.0)]))
    replicas = draw(st.sampled_from([1.0, 2.0, 2.25, 3.0, 3.5, 4.0]))
    devices = random_devices(random, draw(st.integers(math.ceil(replicas), 40)), weights)
    part_power = draw(st.integers(3, 10))
    settings = RingSettings(part_power, replicas, 1, draw(st.sampled_from([0.0, 0.1, 1.0])))
    return new_builder(settings, devices)


def has_enough_devices(builder: RingBuilder) -> bool:
    """Whether each replica of a partition can be on a device of its own."""
    return builder.tiers.usable_count >= builder.settings.replicas


def places_of(tiers: Tiers, layout: Layout) -> Iterable[tuple[str, int, Counter[int], int]]:
    """(level, partition, replicas by node, kind of partition) for every level and partition."""
    first = layout.settings.replica_counts[0][0]
    for level, name in enumerate(LEVEL_NAMES):
        for partition, column in enumerate(layout.ids.T.tolist()):
            nodes = Counter(int(tiers.nodes[level][each]) for each in column if each != layout.nobody)
            yield name, partition, nodes, int(partition >= first)


def crowding(tiers: Tiers, layout: Layout) -> Counter[str]:
    """By level, how many replicas are in nodes that hold more of their partition than targets force; 0 is best.

    Partitions with a replica more and the others may share what a place has to hold in two ways, see next_layouts.
    """
    held = layout.held_by_shorts(layout.settings, len(tiers.weights))
    return min(
        (_crowding(tiers, layout, shares(layout.settings, tiers, each)) for each in (None, held)), key=Counter.total
    )


def _crowding(tiers: Tiers, layout: Layout, wanted: list[Share]) -> Counter[str]:
    allowed = [
        [np.ceil(tiers.sums(level, share.target) - 1e-6) for level in range(len(LEVEL_NAMES))] for share in wanted
    ]
    beyond: Counter[str] = Counter()
    for name, _, nodes, kind in places_of(tiers, layout):
        caps = allowed[kind][LEVEL_NAMES.index(name)]
        beyond[name] += sum(max(0, count - max(1, int(caps[node]))) for node, count in nodes.items())
    return +beyond


def imbalance(tiers: Tiers, layout: Layout) -> float:
    """The most replicas any device is away from what its target entitles it to."""
    exact = sum(share.partitions * share.target for share in shares(layout.settings, tiers))
    return float(np.abs(layout.held(len(tiers.weights)) - exact).max())


def moves_by_partition(old: Layout, new: Layout) -> Ints:
    rows = min(len(old.ids), len(new.ids))
    result: Ints = (old.ids[:rows].astype(np.int64) != new.ids[:rows]).sum(axis=0)
    return result


def change_something(builder: RingBuilder, random: Random) -> None:
    """One of the things operators do."""
    ids = [device.id for device in builder.remaining]
    match random.randrange(4):
        case 0:
            for device in random_devices(random, random.randint(1, 5)):
                builder.add(renumbered(device, builder.next_id))
        case 1 if len(ids) > 1:
            builder.remove(random.choice(ids))
        case 2:
            builder.set_weight(random.choice(ids), random.choice([25.0, 100.0, 300.0]))
        case 3 if len(ids) > 1:
            builder.set_weight(random.choice(ids), 0.0)


def renumbered(device: Device, device_id: int) -> Device:
    values = {name: getattr(device, name) for name in device.__struct_fields__}
    return Device(**(values | {"id": device_id, "device": f"d{device_id}"}))
