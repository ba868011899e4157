"""Whole numbers of partitions for each device, from its target."""

from __future__ import annotations

from typing import Final

import numpy as np

from objstore.ring.targets import Share, structural_caps
from objstore.ring.tiers import DEVICE_LEVEL, Bools, Floats, Ints, Tiers

ROUNDING: Final = 1e-5  # of a partition: far above the error of sums of floats, far below a partition
KEPT: Final = 1e6  # in the urgency of rounding it decides before the relative error


def quotas(tiers: Tiers, shares: list[Share], held: Ints, spare: int = 0) -> Ints:
    """How many replicas each device should hold, by device id. With a fractional replica count there are two shares.

    Every device gets its exact share rounded up or down, and never more than its limit. Those in places that hold too
    many replicas of a partition anyway are rounded down if possible. Else it is the way to round that is nearest to
    what devices hold now (`held`, by device id), and where that leaves a choice, the error is kept small in proportion
    to the share. With `spare`, devices may get so many more where that is the only way.
    """
    if len(shares) > 1:
        # The first layout rounds each share by itself, so a crowded place may have got more than it would have to get
        # of both together. That is no reason to move anything when nothing has changed.
        kept = _rounded(tiers, shares, held, spare, relieve=False)
        if np.array_equal(kept, held):
            return kept
    return _rounded(tiers, shares, held, spare, relieve=True)


def _rounded(tiers: Tiers, shares: list[Share], held: Ints, spare: int, relieve: bool) -> Ints:
    """See quotas(); `relieve` crowded places."""
    goal = np.array([round(sum(share.partitions * float(share.target.sum()) for share in shares))])
    caps = [structural_caps(tiers, share.replicas) for share in shares]
    exact_by_level = [
        [share.partitions * tiers.sums(level, share.target) for share in shares] for level in range(DEVICE_LEVEL + 1)
    ]
    bounds_by_level = _bounds(tiers, shares, exact_by_level, spare)
    for level, (exact, bounds) in enumerate(zip(exact_by_level, bounds_by_level, strict=True)):
        crowded = np.any(
            [part > share.partitions * cap[level] for part, share, cap in zip(exact, shares, caps, strict=True)], axis=0
        )
        total = np.sum(exact, axis=0)
        held_here = tiers.sums(level, held.astype(np.float64)).astype(np.int64)
        # What a node holds is left to it while it may; else it gets its own share, rounded.
        lowest, highest = bounds
        nearest = np.clip(held_here, _whole(np.floor(total + ROUNDING)), _whole(np.ceil(total - ROUNDING)))
        start = np.where((held_here >= lowest) & (held_here <= highest), held_here, np.clip(nearest, lowest, highest))
        if relieve:
            start = np.where(crowded, lowest, start)
        kept = np.where(held_here > start, KEPT, 0.0)
        goal = _meet(goal, start, bounds, total, crowded, kept, tiers.parents[level])
    return goal


def _bounds(
    tiers: Tiers, shares: list[Share], exact_by_level: list[list[Floats]], spare: int
) -> list[tuple[Ints, Ints]]:
    """By level, the least and the most each node may get: what its children may, and what its partitions allow.

    A node whose target is between one and two replicas gets at least one of each partition, and at most two.
    """
    bounds: list[tuple[Ints, Ints]] = []
    below: list[tuple[Ints, Ints]] = []
    for level in range(DEVICE_LEVEL, -1, -1):
        here = []
        for number, (share, exact) in enumerate(zip(shares, exact_by_level[level], strict=True)):
            slack = ROUNDING / share.partitions
            least = share.partitions * _whole(np.floor(exact / share.partitions + slack))
            most = share.partitions * _whole(np.ceil(exact / share.partitions - slack))
            if level == DEVICE_LEVEL:
                low, high = _down(exact), np.minimum(_up(exact) + spare, tiers.limits)
            else:
                children = tiers.parents[level + 1]
                low, high = (_whole(np.bincount(children, each, len(exact))) for each in below[number])
            here.append((np.maximum(low, least), np.minimum(high, most)))
        below = here
        lowest, highest = (np.sum([pair[side] for pair in here], axis=0) for side in (0, 1))
        if level == DEVICE_LEVEL:
            highest = np.minimum(highest, tiers.limits)
        bounds.insert(0, (lowest, highest))
    return bounds


def _down(exact: Floats) -> Ints:
    return _whole(np.floor(exact + ROUNDING))


def _up(exact: Floats) -> Ints:
    return _whole(np.ceil(exact - ROUNDING))


def _whole(values: Floats | Ints) -> Ints:
    return values.astype(np.int64)


def _meet(
    goals: Ints, start: Ints, bounds: tuple[Ints, Ints], exact: Floats, crowded: Bools, kept: Floats, groups: Ints
) -> Ints:
    """Raise and lower members within their bounds until each group's sum is its goal; the most wrong ones first.

    `crowded` members are raised last and lowered first. Where `kept` is large, members are raised first.
    """
    result = start.copy()
    lowest, highest = bounds
    while True:
        missing = goals - np.bincount(groups, result, len(goals)).astype(np.int64)
        sign = np.sign(missing)[groups]
        able = np.where(sign > 0, result < highest, result > lowest) & (sign != 0)
        if not able.any():
            return result
        preferred = able & (crowded == (sign < 0))
        able &= preferred | (np.bincount(groups, preferred, len(goals)) == 0)[groups]
        members = np.flatnonzero(able)
        signs = sign[members]
        error = (exact - result)[members] * signs
        # By how much a step makes the relative error smaller.
        urgency = (2 * error - 1) / np.maximum(exact[members], ROUNDING) + kept[members] * signs
        order = members[np.lexsort((members, -urgency, groups[members]))]
        rank = np.arange(len(order)) - np.searchsorted(groups[order], groups[order])
        chosen = order[rank < np.abs(missing)[groups[order]]]
        result[chosen] += sign[chosen]
