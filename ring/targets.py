"""How many replicas of each partition a device should hold on average: weights, overload and failure domains.

A device's target is a number of replicas per partition (0.03: it holds 3% of the partitions). Targets of all devices
add up to the replica count. With overload 0 they follow the weights, except that no device can hold a partition
twice. Overload lets devices take up to that much more than their weight's share where this brings the replicas of
partitions farther apart, and only there.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from objstore.ring.errors import require
from objstore.ring.tiers import DEVICE_LEVEL, Floats, Ints, Tiers

EPSILON: Final = 1e-9


def weighted_targets(tiers: Tiers, replicas: int) -> Floats:
    """Targets by device id that follow the weights, no device holding a partition more often than it must.

    Raises BuilderError when no device is usable.
    """
    count = tiers.usable_count
    require(count > 0, "no device has weight, so there is nowhere to place partitions")
    everywhere = replicas // count
    shared = replicas - everywhere * count
    group = np.zeros(len(tiers.weights), np.int64)
    filled = fill(np.array([float(shared)]), tiers.weights, tiers.usable.astype(np.float64), group)
    return filled + everywhere * tiers.usable


def targets(tiers: Tiers, replicas: int, overload: float) -> Floats:
    """Targets by device id, spread over the failure domains as far as the overload admits."""
    weighted = weighted_targets(tiers, replicas)
    if overload <= 0:
        return weighted
    copies = copies_limit(tiers, replicas)
    most = np.minimum(weighted * (1 + overload), copies * tiers.usable)
    caps = structural_caps(tiers, replicas)
    amounts = np.array([float(replicas)])
    for level in range(DEVICE_LEVEL + 1):
        wanted = tiers.sums(level, weighted)
        bounds = tiers.sums(level, most)
        spread = np.minimum(caps[level], bounds)
        groups = tiers.parents[level]
        share = fill(amounts, wanted, spread, groups)
        # Where the overload does not suffice, replicas of a partition have to be closer than the domains allow.
        lacking = np.maximum(amounts - np.bincount(groups, share, len(amounts)), 0)
        amounts = share + fill(lacking, wanted, bounds - share, groups)
    return amounts


def copies_limit(tiers: Tiers, replicas: int) -> int:
    """How many replicas of one partition a device has to accept: more than 1 only if devices are too few."""
    return -(-replicas // max(tiers.usable_count, 1))


def structural_caps(tiers: Tiers, replicas: int) -> tuple[Ints, ...]:
    """By level and node: the most replicas of one partition it need hold when they are spread evenly, top down."""
    copies = copies_limit(tiers, replicas)
    above = np.array([replicas])
    caps = []
    for level in range(DEVICE_LEVEL + 1):
        capacity = tiers.counts[level] * copies
        above = _even_caps(above, capacity, tiers.parents[level])
        caps.append(above)
    return tuple(caps)


def _even_caps(amounts: Ints, capacities: Ints, groups: Ints) -> Ints:
    """The smallest cap for each group under which its members, limited by their capacities, take its amount."""
    needed = np.zeros(len(amounts), np.int64)
    while True:
        held = np.bincount(groups, np.minimum(capacities, needed[groups]), len(amounts))
        reachable = np.bincount(groups, capacities, len(amounts))
        short = held < np.minimum(amounts, reachable)
        if not short.any():
            return np.minimum(capacities, needed[groups])
        needed += short


def fill(amounts: Floats, weights: Floats, bounds: Floats, groups: Ints) -> Floats:
    """Distribute each group's amount over its members by weight, none above its bound.

    `amounts` is by group; the rest is by member. What does not fit under the bounds is left over.
    """
    result = np.zeros(len(weights))
    open_ = (weights > 0) & (bounds > EPSILON)
    left = amounts.copy()
    while True:
        total = np.bincount(groups, np.where(open_, weights, 0.0), len(amounts))
        rate = np.divide(left, total, out=np.zeros(len(amounts)), where=total > 0)
        share = np.where(open_, weights * rate[groups], 0.0)
        over = open_ & (share > bounds + EPSILON)
        if not over.any():
            return result + np.minimum(share, bounds) if open_.any() else result
        result[over] = bounds[over]
        left = np.maximum(left - np.bincount(groups, np.where(over, bounds, 0.0), len(amounts)), 0.0)
        open_ &= ~over
