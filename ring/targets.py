"""How many replicas of each partition a device should hold, by weights, overload and failure domains."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np

from objstore.ring.errors import require
from objstore.ring.settings import RingSettings
from objstore.ring.tiers import DEVICE_LEVEL, Bools, Floats, Ints, Tiers

EPSILON: Final = 1e-9
BISECTIONS: Final = 24  # the overload used is exact to a ten-millionth of the one allowed


@dataclass(frozen=True, eq=False)
class Share:
    """So many partitions, with so many replicas each, are spread by these targets (by device id)."""

    partitions: int
    replicas: int
    target: Floats


def shares(settings: RingSettings, tiers: Tiers, held_by_shorts: Floats | None = None) -> list[Share]:
    """The targets of all partitions; with a fractional replica count, of those with more replicas and of the others.

    `held_by_shorts` is what those others hold now, by device id, in replicas per partition: of targets that are as
    good, those near to it ask for the fewest moves. Raises BuilderError when no device is usable.
    """
    target = targets(tiers, settings)
    counts = settings.replica_counts
    if len(counts) == 1:
        return [Share(*counts[0], target)]
    (longs, more), (shorts, fewer) = counts
    fraction = longs / settings.partition_count
    target_of_shorts = _fewer_replicas_part(tiers, target, fraction, (more, fewer), held_by_shorts)
    target_of_longs = np.maximum(target - (1 - fraction) * target_of_shorts, 0) / fraction
    return [Share(longs, more, target_of_longs), Share(shorts, fewer, target_of_shorts)]


def weighted_targets(tiers: Tiers, settings: RingSettings) -> Floats:
    """Targets by device id that follow the weights, no device holding a partition more often than it must.

    Raises BuilderError when no device is usable, or when the limits of devices leave too little room.
    """
    require(tiers.usable_count > 0, "no device has weight, so there is nowhere to place partitions")
    least, most = _bounds(tiers, settings)
    group = np.zeros(len(tiers.weights), np.int64)
    amount = np.array([settings.exact_replicas - least.sum()])
    result = least + fill(amount, tiers.weights, most - least, group)
    # A partition that does not fit, in a ring of the largest part power, is more than this.
    missing = settings.partition_count * (settings.exact_replicas - float(result.sum()))
    require(missing < 0.5, f"the limits of devices leave no place for {missing:.0f} replicas of partitions")
    return result


def targets(tiers: Tiers, settings: RingSettings) -> Floats:
    """Targets by device id, spread over the failure domains as far as the overload admits."""
    weighted = weighted_targets(tiers, settings)
    if not settings.overload:
        return weighted
    caps = _mean_caps(tiers, settings)
    low, high = 0.0, settings.overload
    best, lacking = _spread(tiers, weighted, caps, settings, high)
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        target, lacks = _spread(tiers, weighted, caps, settings, middle)
        if lacks <= lacking + EPSILON:
            high, best = middle, target
        else:
            low = middle
    return best


def structural_caps(tiers: Tiers, replicas: int) -> tuple[Ints, ...]:
    """By level and node: the most replicas of one partition it need hold when they are spread evenly, top down."""
    copies = -(-replicas // max(tiers.usable_count, 1))
    above = np.array([replicas])
    caps = []
    for level in range(DEVICE_LEVEL + 1):
        above = _even_caps(above, tiers.counts[level] * copies, tiers.parents[level])
        caps.append(above)
    return tuple(caps)


def _spread(
    tiers: Tiers, weighted: Floats, caps: list[Floats], settings: RingSettings, overload: float
) -> tuple[Floats, float]:
    """(targets, how many replicas are closer than the domains allow because the overload does not suffice)."""
    _, most = _bounds(tiers, settings)
    most = np.minimum(weighted * (1 + overload), most)
    # A place is better not filled to its own cap where its zones or servers would have to exceed theirs for that.
    fitting = _fitting(tiers, most, caps)
    amounts, lacking_total = np.array([settings.exact_replicas]), 0.0
    for level in range(DEVICE_LEVEL + 1):
        wanted, bounds = tiers.sums(level, weighted), tiers.sums(level, most)
        groups = tiers.parents[level]
        share = np.zeros(len(wanted))
        for bound in (fitting[level], np.minimum(caps[level], bounds), bounds):
            lacking = np.maximum(amounts - np.bincount(groups, share, len(amounts)), 0)
            if bound is bounds:
                lacking_total += float(lacking.sum())
            share += fill(lacking, wanted, bound - share, groups)
        amounts = share
    return amounts, lacking_total


def _fitting(tiers: Tiers, most: Floats, caps: list[Floats]) -> list[Floats]:
    """By level and node, how much fits into it with neither it nor anything in it above its cap."""
    fitting = [np.minimum(most, caps[DEVICE_LEVEL])]
    for level in range(DEVICE_LEVEL, 0, -1):
        inside = np.bincount(tiers.parents[level], fitting[0], len(caps[level - 1]))
        fitting.insert(0, np.minimum(inside, caps[level - 1]))
    return fitting


def _fewer_replicas_part(
    tiers: Tiers, target: Floats, fraction: float, replicas: tuple[int, int], held: Floats | None
) -> Floats:
    """Of targets for all partitions, the part of those that have fewer replicas, as far apart as they can be.

    A node's target is the mean of the two parts; `fraction` of the partitions have more `replicas`. Each part keeps
    to the caps of its own replica count if it can, and always to what its devices can hold. Where a replica more here
    and one less there changes nothing, the part stays near to what is `held`.
    """
    caps_of_more, caps_of_fewer = (structural_caps(tiers, each) for each in replicas)
    copies_of_more, copies_of_fewer = (-(-each // tiers.usable_count) for each in replicas)
    least_of_devices = np.maximum(0, target - fraction * copies_of_more) / (1 - fraction)
    most_of_devices = np.minimum(copies_of_fewer, target / (1 - fraction))
    amounts = np.array([float(replicas[1])])
    for level in range(DEVICE_LEVEL + 1):
        total = tiers.sums(level, target)
        hard_least, hard_most = tiers.sums(level, least_of_devices), tiers.sums(level, most_of_devices)
        # Below the first the others are too close, above the second these are; or between them both are, in a place
        # that has to hold more than either should: then too, what one has less the other has more.
        one = caps_of_fewer[level].astype(np.float64)
        other = (total - fraction * caps_of_more[level]) / (1 - fraction)
        first = np.clip(np.minimum(one, other), hard_least, hard_most)
        second = np.clip(np.maximum(one, other), hard_least, hard_most)
        kept = first if held is None else np.clip(tiers.sums(level, held), first, second)
        amounts = _fill_in_steps(amounts, total, (hard_least, first, kept, second, hard_most), tiers.parents[level])
    return amounts


def _fill_in_steps(amounts: Floats, weights: Floats, levels: tuple[Floats, ...], groups: Ints) -> Floats:
    """Fill all members up to the first bound, then on to the second, and so on, by weight within each step."""
    result = levels[0].copy()
    for lower, upper in pairwise(levels):
        left = np.maximum(amounts - np.bincount(groups, result, len(amounts)), 0)
        result += fill(left, np.maximum(weights, EPSILON), upper - lower, groups)
    return result


def _bounds(tiers: Tiers, settings: RingSettings) -> tuple[Floats, Floats]:
    """By device id, the least and the most replicas per partition it can hold: its limit, and no copy too many."""
    limits = tiers.usable * tiers.limits / settings.partition_count
    least, most = (_mean(settings, [np.array(copies) for copies in bounds]) for bounds in _copies(tiers, settings))
    return np.minimum(least, limits), np.minimum(most, limits)


def _copies(tiers: Tiers, settings: RingSettings) -> tuple[list[int], list[int]]:
    """The fewest and the most replicas of one partition a device has to hold, for each kind of partition."""
    replicas = [each for _, each in settings.replica_counts]
    return [each // tiers.usable_count for each in replicas], [-(-each // tiers.usable_count) for each in replicas]


def _mean_caps(tiers: Tiers, settings: RingSettings) -> list[Floats]:
    by_kind = [structural_caps(tiers, replicas) for _, replicas in settings.replica_counts]
    return [_mean(settings, [caps[level] for caps in by_kind]) for level in range(DEVICE_LEVEL + 1)]


def _mean(settings: RingSettings, by_kind: list[Ints]) -> Floats:
    """The mean over all partitions of something given for each kind of partition."""
    total = sum(
        (partitions * values for (partitions, _), values in zip(settings.replica_counts, by_kind, strict=True)),
        np.zeros(by_kind[0].shape),
    )
    return np.asarray(total / settings.partition_count, np.float64)


def _even_caps(amounts: Ints, capacities: Ints, groups: Ints) -> Ints:
    """The smallest cap for each group under which its members, limited by their capacities, take its amount."""
    needed = np.zeros(len(amounts), np.int64)
    reachable = np.minimum(amounts, np.bincount(groups, capacities, len(amounts)))
    while True:
        held = np.minimum(capacities, needed[groups])
        short = np.bincount(groups, held, len(amounts)) < reachable
        if not short.any():
            return held
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
            return result + np.minimum(share, np.where(open_, bounds, 0.0))
        result[over] = bounds[over]
        left = np.maximum(left - np.bincount(groups, np.where(over, bounds, 0.0), len(amounts)), 0.0)
        open_ &= ~over


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
    """Whole numbers for the shares, as `quotas` promises; `relieve` crowded places."""
    goal = np.array([round(sum(share.partitions * float(share.target.sum()) for share in shares))])
    caps = [structural_caps(tiers, share.replicas) for share in shares]
    exact_by_level = [
        [share.partitions * tiers.sums(level, share.target) for share in shares] for level in range(DEVICE_LEVEL + 1)
    ]
    bounds_by_level = _whole_bounds(tiers, shares, exact_by_level, spare)
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


def _whole_bounds(
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
