"""Moving as few replicas as possible, to where they are far apart first, and where the quotas are met second.

Everything is done in rounds over whole arrays: replicas that have to go are paired with devices that have room, each
pair is priced, the good ones are made, the others paired anew. At most one replica of a partition is moved, unless
its device is gone.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from objstore.ring.board import Board, Candidates, Matcher, first_of_each, within_limits
from objstore.ring.chains import Chains
from objstore.ring.spacing import LEVEL_PRICES, PriceList
from objstore.ring.tiers import Bools, Ints, Tiers

FRUITLESS_ROUNDS_MAX: Final = 12  # so many rounds without one good pair: there is none, or next to none
ROUNDS_MAX: Final = 1000
TRIES_PER_TAKER: Final = 256  # replicas offered to a device with room that none of the over-full can use
TRIES_MAX: Final = 1 << 18
DETOURS_MAX: Final = 30
PORTIONS: Final = 16
PORTION_MIN: Final = 1000

# What a move of a partition that is not locked yet must gain: all that is wrong with it, or at least so much.
ALL: Final = 1 << 14
TWO_LEVELS: Final = LEVEL_PRICES[0] + LEVEL_PRICES[1]
ONE_LEVEL: Final = LEVEL_PRICES[0]


class Rebalance:
    """One rebalance of a board; run() does it."""

    def __init__(self, board: Board, tiers: Tiers, random: np.random.Generator) -> None:
        self._board: Final = board
        self._tiers: Final = tiers
        self._random: Final = random
        self._matcher: Final = Matcher(tiers, random)
        self._chains: Final = Chains(board, random)

    def run(self, homeless: Bools) -> None:
        """`homeless` marks device ids, and nobody, whose replicas must be placed elsewhere whatever is locked."""
        self._house(homeless)
        self._disperse()
        self._balance()

    def _house(self, homeless: Bools) -> None:
        """Give the replicas of gone devices, and those without any, to devices with room."""
        board = self._board
        slots = board.slots_on(homeless)
        origins = board.devices(slots)
        board.clear(slots)
        for replica in range(len(board.ids)):
            # A partition may have lost several replicas; in one row it has one.
            row = slots // board.partition_count == replica
            left = self._place(slots[row], origins[row])
            for _ in range(DETOURS_MAX):
                if not len(left):
                    break
                left = left[board.devices(left) == board.nobody]
                self._detour(left, board.best_addition(left), np.full(board.nobody + 1, len(left)))
            left = left[board.devices(left) == board.nobody]
            self._chains.settle(left, board.best_addition(left), np.full(board.nobody + 1, len(left)))
            self._place_anywhere(left[board.devices(left) == board.nobody])

    def _place(self, slots: Ints, origins: Ints) -> Ints:
        """Fill what empty slots can be filled in the best way, near their origins if possible; returns the others."""
        board, fruitless = self._board, 0
        best = board.best_addition(slots)
        while len(slots) and fruitless < FRUITLESS_ROUNDS_MAX:
            takers = self._takers()
            pair = self._matcher.anyhow if fruitless % 2 else self._matcher.near
            left, right = pair(origins, takers)
            good = board.change(slots[left], takers[right]) <= best[left]
            board.replace(slots[left[good]], takers[right[good]])
            slots, origins, best = (np.delete(values, left[good]) for values in (slots, origins, best))
            fruitless = 0 if good.any() else fruitless + 1
        return slots

    def _place_anywhere(self, slots: Ints) -> None:
        """Place what fits nowhere properly where it does the least harm."""
        while len(slots):
            best = self._any_devices(len(slots))
            best_price = self._board.change(slots, best)
            for _ in range(TRIES_PER_TAKER):
                other = self._any_devices(len(slots))
                price = self._board.change(slots, other)
                better = price < best_price
                best[better], best_price[better] = other[better], price[better]
            allowed = within_limits(best, self._board.room())
            self._board.replace(slots[allowed], best[allowed])
            slots = slots[~allowed]

    def _disperse(self) -> None:
        """Move replicas that are closer than need be; over-full devices give first, devices with room take first.

        Among the moves that the quotas ask for anyway, those come first that bring replicas as far apart as an even
        spread would: a partition that has moved for anything else has to wait. And first those moves that leave
        nothing wrong with a partition.
        """
        board = self._board
        ways = ((True, True), (False, True), (False, False))
        free = np.flatnonzero(~board.locked)
        # Whatever changes is locked, so the others stay as bad as they are.
        bad_by = {prices: free[board.faults(free, prices) > 0] for prices in (board.structure, board.prices)}
        for prices, gain_least, only_excess, only_room in (
            *((board.structure, gain, True, True) for gain in (ALL, TWO_LEVELS, ONE_LEVEL, 1)),
            *((board.prices, gain, *way) for gain in (ALL, 1) for way in ways),
        ):
            bad = bad_by[prices][~board.locked[bad_by[prices]]]
            fruitless = rounds = 0
            while len(bad) and fruitless < FRUITLESS_ROUNDS_MAX and rounds < ROUNDS_MAX:
                done = self._disperse_round(bad, prices, gain_least, only_excess, only_room)
                bad = bad[~board.locked[bad]]
                fruitless = 0 if done else fruitless + 1
                rounds += 1

    def _disperse_round(self, bad: Ints, prices: PriceList, gain_least: int, only_excess: bool, only_room: bool) -> int:
        board = self._board
        # In portions, so that which device is the fullest is looked at anew now and then. A few are tried often.
        portion = max(len(bad) // PORTIONS, PORTION_MIN)
        bad = np.resize(self._random.permutation(bad), portion)
        slots = self._worst_replicas(bad, prices)
        takers = self._takers() if only_room else self._any_devices(len(slots))
        if len(takers):
            takers = np.resize(takers, max(len(takers), len(slots)))
        left, right = self._matcher.anyhow(slots, takers)
        slots, takers = slots[left], takers[right]
        gain = -board.change(slots, takers, prices)
        wanted = np.minimum(board.faults(slots % board.partition_count, prices), gain_least)
        good = (gain >= wanted) & (board.change(slots, takers) <= 0)
        slots, takers = slots[good], takers[good]
        single = first_of_each(slots % board.partition_count)
        slots, takers = slots[single], takers[single]
        if only_excess:
            allowed = within_limits(board.devices(slots), np.append(np.maximum(board.excess(), 0), 0))
            slots, takers = slots[allowed], takers[allowed]
        allowed = within_limits(takers, np.maximum(-board.excess(), 0) if only_room else board.room())
        slots, takers = slots[allowed], takers[allowed]
        board.replace(slots, takers)
        return len(slots)

    def _worst_replicas(self, partitions: Ints, prices: PriceList) -> Ints:
        """One slot of each partition: the one that is nearest to others, of these the one of the fullest device.

        Sometimes any other, since the worst one may have nowhere to go.
        """
        board = self._board
        rows = np.arange(len(board.ids))[:, None]
        slots = rows * board.partition_count + partitions
        devices = board.devices(slots)
        fullness = np.append(board.excess() / np.maximum(board.quota[:-1], 1), 0).clip(-1, 1)[devices]
        score = board.crowding(slots.ravel(), prices).reshape(slots.shape) + fullness / 4
        score += self._random.random(slots.shape) * np.where(self._random.random(len(partitions)) < 0.25, 100, 0.01)
        score[devices == board.nobody] = -np.inf
        worst: Ints = score.argmax(axis=0) * board.partition_count + partitions
        return worst

    def _balance(self) -> None:
        """Move replicas from over-full devices to devices with room, without bringing any closer together."""
        for apart in (True, False):
            self._balance_directly(apart)
        for _ in range(DETOURS_MAX):
            slots, excess = self._to_give()
            if not self._detour(slots, np.zeros(len(slots), np.int64), excess):
                break
        slots, excess = self._to_give()
        self._chains.settle(slots, np.zeros(len(slots), np.int64), excess)

    def _to_give(self) -> tuple[Ints, Ints]:
        """The unlocked slots of over-full devices, and by device, with nobody at the end, how many are too many."""
        board = self._board
        excess = np.append(np.maximum(board.excess(), 0), 0)
        slots = board.slots_on(excess > 0)
        return slots[~board.locked[slots % board.partition_count]], excess

    def _balance_directly(self, apart: bool) -> None:
        """In pairs. With `apart`, none that brings replicas closer than an even spread would, as targets may ask."""
        board, fruitless, offers = self._board, 0, 1
        candidates = Candidates(board, board.excess() > 0, self._random)
        for _ in range(ROUNDS_MAX):
            excess = board.excess()
            slots = candidates.next(np.maximum(excess, 0) * offers)
            takers = self._takers()
            if not len(slots) or not len(takers) or fruitless >= FRUITLESS_ROUNDS_MAX:
                break
            slots = slots[first_of_each(slots % board.partition_count)]
            pair = self._matcher.anyhow if fruitless % 2 else self._matcher.near
            takers = np.resize(takers, max(len(slots), len(takers)))
            left, right = pair(board.devices(slots), takers)
            done = self._move(slots[left], takers[right], excess, apart)
            # The fewer fit, the more are looked at in one round.
            offers = min(offers * 2, candidates.most_for_one()) if done * 4 < len(left) else offers
            fruitless = 0 if done else fruitless + 1

    def _move(self, slots: Ints, takers: Ints, excess: Ints, apart: bool) -> int:
        """Make the good ones of these replacements, no giver or taker beyond its quota; returns how many."""
        board = self._board
        good = board.change(slots, takers) <= 0
        if apart:
            good &= board.change(slots, takers, board.structure) <= 0
        slots, takers = slots[good], takers[good]
        allowed = within_limits(board.devices(slots), np.maximum(excess, 0))
        slots, takers = slots[allowed], takers[allowed]
        allowed = within_limits(takers, np.maximum(-excess, 0))
        board.replace(slots[allowed], takers[allowed])
        return int(np.count_nonzero(allowed))

    def _detour(self, slots: Ints, price_limits: Ints, most: Ints) -> bool:
        """Bring some of these slots to devices with room by way of third ones: those take them, and give another.

        Replicas that are on the move anyway are redirected, which costs nothing; if none of them fits, others are
        moved. `price_limits` is by slot, `most` (how many may leave) by device. Returns whether anything was done.
        """
        takers = self._takers()
        if not len(takers) or not len(slots):
            return False
        tries = min(max(len(takers), len(slots)) * TRIES_PER_TAKER, TRIES_MAX)
        return any(
            len(pool) and self._detour_over(pool, slots, price_limits, most, tries)
            for pool in (self._underway(), self._unlocked())
        )

    def _detour_over(self, pool: Ints, slots: Ints, price_limits: Ints, most: Ints, tries: int) -> bool:
        board, random = self._board, self._random
        takers, room = self._takers(), np.maximum(-board.excess(), 0)
        given = pool[random.integers(0, len(pool), tries)]
        chosen = random.integers(0, len(slots), tries)
        to = takers[random.integers(0, len(takers), tries)]
        via = board.devices(given)
        # What a device with room gives away would only leave it with more room.
        good = (board.excess()[via] >= 0) & (given % board.partition_count != slots[chosen] % board.partition_count)
        given, chosen, to, via = given[good], chosen[good], to[good], via[good]
        good = board.change(given, to) <= 0
        given, chosen, to, via = given[good], chosen[good], to[good], via[good]
        taken = slots[chosen]
        good = board.change(taken, via) <= price_limits[chosen]
        good[good] = within_limits(board.devices(taken[good]), most)
        good[good] = within_limits(to[good], room)
        pairs = np.stack([given[good], taken[good]])
        new = np.stack([to[good], via[good]])
        alone = _apart(pairs % board.partition_count)
        board.replace(pairs[:, alone].ravel(), new[:, alone].ravel())
        return bool(alone.any())

    def _underway(self) -> Ints:
        slots = np.flatnonzero(self._board.moved)
        return np.compress(self._board.devices(slots) != self._board.nobody, slots)

    def _unlocked(self) -> Ints:
        board = self._board
        slots = self._random.integers(0, board.slot_count, TRIES_MAX)
        free = ~board.locked[slots % board.partition_count] & (board.devices(slots) != board.nobody)
        return np.compress(free, slots)

    def _takers(self) -> Ints:
        """Each device with room as often as it lacks replicas."""
        return np.repeat(np.arange(self._board.nobody), np.maximum(-self._board.excess(), 0))

    def _any_devices(self, count: int) -> Ints:
        """Devices drawn by weight, of those below their limits; there always are some, as targets keep to them."""
        ends = np.cumsum(self._tiers.weights * (self._board.room() > 0))
        drawn: Ints = np.searchsorted(ends, self._random.random(count) * ends[-1], side="right")
        return drawn


def _apart(partitions: Ints) -> Bools:
    """Marks columns such that no number stands twice in the marked ones. Shape (2, columns)."""
    marked = np.zeros(partitions.shape[1], np.bool_)
    columns = np.tile(np.arange(partitions.shape[1]), 2)
    first = columns[np.unique(partitions.ravel(), return_index=True)[1]]
    # A column whose two numbers are both seen for the first time shares none with earlier ones.
    marked[np.bincount(first, minlength=partitions.shape[1]) == 2] = True
    return marked
