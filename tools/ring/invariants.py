"""What must hold of a builder, of a ring, and of the two together."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

import numpy as np

from objstore.ring.build import ring_of
from objstore.ring.builder import RingBuilder
from objstore.ring.layout import Layout
from objstore.ring.ring import Ring
from objstore.ring.tiers import Ints


class Verdict(Enum):
    """How a check ended."""

    HOLDS = "ok"
    DOUBTFUL = "warning"
    BROKEN = "broken"


@dataclass(frozen=True)
class Finding:
    """One check."""

    verdict: Verdict
    what: str


def check_builder(builder: RingBuilder) -> Iterator[Finding]:
    """Everything that must hold of a builder, or of the ring that was made one."""
    layout = builder.layout
    if layout is None:
        yield Finding(Verdict.DOUBTFUL, "it was never balanced")
        return
    size = max(builder.devices, default=-1) + 1
    yield _counts(layout)
    yield _ids(builder, layout)
    held = layout.held(max(size, int(layout.ids[layout.ids != layout.nobody].max(initial=0)) + 1))
    yield _distinct(builder, layout)
    yield _entitled(builder, held)
    yield _limits(builder, held)
    yield _times(builder)


def check_together(builder: RingBuilder, ring: Ring) -> Iterator[Finding]:
    """Whether a ring is the one its builder would write."""
    if builder.version != ring.version:
        what = f"the ring has version {ring.version}, the builder {builder.version}"
        yield Finding(Verdict.DOUBTFUL, f"{what}: it was changed since; rebalance and publish")
    else:
        yield Finding(Verdict.HOLDS, f"builder and ring have version {ring.version}")
    if builder.layout is None:
        yield Finding(Verdict.BROKEN, "there is a ring, though the builder was never balanced")
        return
    made = ring_of(builder.layout, builder.devices.values(), builder.version, builder.next_part_power)
    same = made.part_power == ring.part_power and made.rows == ring.rows
    yield _judge(same, "the partitions are on the same devices in both", Verdict.BROKEN)
    devices = {device.id: device for device in ring.devices}
    expected = {device.id: device for device in made.devices}
    verdict = Verdict.BROKEN if builder.version == ring.version else Verdict.DOUBTFUL
    yield _judge(devices == expected, "the devices are the same in both", verdict)


def _judge(holds: bool, what: str, otherwise: Verdict = Verdict.BROKEN) -> Finding:
    return Finding(Verdict.HOLDS, what) if holds else Finding(otherwise, f"not so: {what}")


def _counts(layout: Layout) -> Finding:
    replicas = np.count_nonzero(layout.ids != layout.nobody, axis=0)
    begin, wrong = 0, 0
    for count, expected in layout.settings.replica_counts:
        wrong += int(np.count_nonzero(replicas[begin : begin + count] != expected))
        begin += count
    if wrong:
        return Finding(Verdict.BROKEN, f"{wrong} partitions have not as many replicas as they must")
    return Finding(Verdict.HOLDS, f"all {begin} partitions have their {layout.settings.replicas:g} replicas")


def _ids(builder: RingBuilder, layout: Layout) -> Finding:
    strange = set(np.unique(layout.ids[layout.ids != layout.nobody]).tolist()) - builder.devices.keys()
    if strange:
        return Finding(Verdict.BROKEN, f"partitions are on devices that do not exist: {sorted(strange)[:5]}")
    return Finding(Verdict.HOLDS, "every partition is on devices that exist")


def _distinct(builder: RingBuilder, layout: Layout) -> Finding:
    ids = layout.ids
    twice = np.zeros(ids.shape[1], np.bool_)
    for row in range(1, len(ids)):
        for earlier in range(row):
            twice |= (ids[row] == ids[earlier]) & (ids[row] != layout.nobody)
    count = int(np.count_nonzero(twice))
    if not count:
        return Finding(Verdict.HOLDS, "the replicas of every partition are on distinct devices")
    forced = builder.tiers.usable_count < layout.settings.row_count
    reason = "there are fewer devices than replicas" if forced else "rebalance until it is none"
    what = f"{count} partitions have two replicas on one device: {reason}"
    return Finding(Verdict.DOUBTFUL if forced else Verdict.BROKEN, what)


def _entitled(builder: RingBuilder, held: Ints) -> Finding:
    idle = [key for key, device in builder.devices.items() if not device.weight and held[key]]
    if idle:
        what = f"devices without weight still hold partitions: {idle[:5]}; rebalance"
        return Finding(Verdict.DOUBTFUL, what)
    return Finding(Verdict.HOLDS, "no device without weight holds anything")


def _limits(builder: RingBuilder, held: Ints) -> Finding:
    over = [key for key, limit in builder.limits.items() if held[key] > limit]
    if over:
        return Finding(Verdict.DOUBTFUL, f"devices hold more than their limits: {over[:5]}; rebalance")
    return Finding(Verdict.HOLDS, "no device holds more than its limit")


def _times(builder: RingBuilder) -> Finding:
    moved_at, layout = builder.moved_at, builder.layout
    fits = moved_at is not None and layout is not None and len(moved_at) == layout.ids.shape[1]
    return _judge(fits, "there is a time of the last move for every partition")
