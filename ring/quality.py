"""How good a layout is: balance and dispersion."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from itertools import combinations
from typing import Final

import numpy as np

from objstore.ring.layout import Layout
from objstore.ring.settings import RingSettings
from objstore.ring.targets import ROUNDING, structural_caps, weighted_targets
from objstore.ring.tiers import LEVEL_NAMES, NO_LIMIT, Bools, Floats, Ints, Tiers

CHUNK: Final = 1 << 20  # partitions looked at in one go: bounds the memory


@dataclass(frozen=True)
class Quality:
    """`balance`: how far the worst device is from its weight's share, in percent of that share.

    `closeness`: by level, the percentage of replicas that are in a region, zone, server or device with more replicas
    of their partition than an even spread would put there. `dispersion` is that of the worst level, as operators know
    it. `limited_devices` is how many devices would get more by their weight than their limits admit; the share of
    those is their limit, and others' shares are the larger.
    """

    balance: float
    dispersion: float
    closeness: dict[str, float]
    limited_devices: int = 0


def quality_of(layout: Layout, tiers: Tiers) -> Quality:
    """Judge a layout against the devices as they are now. Raises BuilderError when no device has weight."""
    too_close = np.zeros(len(LEVEL_NAMES))
    total = begin = 0
    for count, replicas in layout.settings.replica_counts:
        caps = structural_caps(tiers, replicas)
        for start in range(begin, begin + count, CHUNK):
            ids = layout.ids[:replicas, start : min(start + CHUNK, begin + count)]
            too_close += [
                np.count_nonzero(_beyond(tiers.nodes[level][ids], caps[level])) for level in range(len(LEVEL_NAMES))
            ]
            total += ids.size
        begin += count
    closeness = {name: 100 * value / total for name, value in zip(LEVEL_NAMES, too_close.tolist(), strict=True)}
    return Quality(
        balance_of(layout, tiers), max(closeness.values()), closeness, _limited_count(layout.settings, tiers)
    )


def doubled_count(layout: Layout) -> int:
    """How many partitions have two replicas on one device."""
    doubled = np.zeros(layout.ids.shape[1], np.bool_)
    for row, earlier in combinations(layout.ids, 2):
        doubled |= (row == earlier) & (row != layout.nobody)
    return int(np.count_nonzero(doubled))


def balance_of(layout: Layout, tiers: Tiers) -> float:
    """The worst device's distance from its share; infinite when a device without weight holds replicas."""
    ideal = shares_by_weight(layout.settings, tiers)
    held = layout.held(len(ideal))
    if held[ideal == 0].any():
        return float("inf")
    usable = ideal > 0
    return float(100 * np.max(np.abs(held[usable] / ideal[usable] - 1)))


def _limited_count(settings: RingSettings, tiers: Tiers) -> int:
    """Devices that have all they may, and would have more without limits."""
    if not tiers.limited:
        return 0
    unlimited = dataclasses.replace(tiers, limits=np.full_like(tiers.limits, NO_LIMIT))
    beyond = shares_by_weight(settings, unlimited) > tiers.limits + ROUNDING
    return int(np.count_nonzero(beyond))


def shares_by_weight(settings: RingSettings, tiers: Tiers) -> Floats:
    """By device id, how many replicas (not a whole number) its weight entitles it to."""
    return settings.partition_count * weighted_targets(tiers, settings)


def _beyond(places: Ints, caps: Ints) -> Bools:
    """Marks replicas that find their place's cap reached by those before them. Shape (replicas, partitions)."""
    marks = np.zeros(places.shape, np.bool_)
    for replica in range(1, len(places)):
        before = np.count_nonzero(places[:replica] == places[replica], axis=0)
        marks[replica] = before >= np.maximum(caps[places[replica]], 1)
    return marks
