"""Moving as few replicas as possible, to where they are far apart first, and where the quotas are met second.

Everything is done in rounds over whole arrays: replicas that have to go are paired with devices that have room, each
pair is priced, the good ones are made, the others paired anew. At most one replica of a partition is moved, unless
its device is gone.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from objstore.ring.board import Board
from objstore.ring.candidates import Candidates
from objstore.ring.matching import Matcher, first_of_each, within_limits
from objstore.ring.tiers import Bools, Ints, Tiers

FRUITLESS_ROUNDS_MAX: Final = 12  # so many rounds without one good pair: there is none, or next to none
ROUNDS_MAX: Final = 1000
TRIES_PER_TAKER: Final = 256  # replicas offered to a device with room that none of the over-full can use
TRIES_MAX: Final = 1 << 18
DETOURS_MAX: Final = 30
PORTIONS: Final = 16
PORTION_MIN: Final = 1000


class Rebalance:
    """One rebalance of a board; run() does it."""

    def __init__(self, board: Board, tiers: Tiers, random: np.random.Generator) -> None:
        self._board: Final = board
        self._tiers: Final = tiers
        self._random: Final = random
        self._matcher: Final = Matcher(tiers, random)

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
            left, left_origins = slots[row], origins[row]
            for _ in range(DETOURS_MAX):
                left, left_origins = self._place(left, left_origins)
                if not len(left) or not self._detour():
                    break
            self._place_anywhere(left)

    def _place(self, slots: Ints, origins: Ints) -> tuple[Ints, Ints]:
        """Fill what empty slots can be filled in the best way; returns those left over, and their origins."""
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
        return slots, origins

    def _place_anywhere(self, slots: Ints) -> None:
        """Place what fits nowhere properly where it does the least harm."""
        if not len(slots):
            return
        best = self._any_devices(len(slots))
        best_price = self._board.change(slots, best)
        for _ in range(TRIES_PER_TAKER):
            other = self._any_devices(len(slots))
            price = self._board.change(slots, other)
            better = price < best_price
            best[better], best_price[better] = other[better], price[better]
        self._board.replace(slots, best)

    def _disperse(self) -> None:
        """Move replicas that are closer than need be; over-full devices give first, devices with room take first."""
        board = self._board
        free = np.flatnonzero(~board.locked)
        bad = free[board.prices(free) > 0]
        for only_excess, only_room in ((True, True), (False, True), (False, False)):
            fruitless = rounds = 0
            while len(bad) and fruitless < FRUITLESS_ROUNDS_MAX and rounds < ROUNDS_MAX:
                done = self._disperse_round(bad, only_excess, only_room)
                bad = bad[~board.locked[bad]]
                fruitless = 0 if done else fruitless + 1
                rounds += 1

    def _disperse_round(self, bad: Ints, only_excess: bool, only_room: bool) -> int:
        board = self._board
        # In portions, so that which device is the fullest is looked at anew now and then.
        bad = self._random.permutation(bad)[: max(len(bad) // PORTIONS, PORTION_MIN)]
        slots = self._worst_replicas(bad)
        takers = self._takers() if only_room else self._any_devices(len(slots))
        left, right = self._matcher.anyhow(slots, takers)
        slots, takers = slots[left], takers[right]
        good = board.change(slots, takers) < 0
        slots, takers = slots[good], takers[good]
        if only_excess:
            allowed = within_limits(board.devices(slots), np.append(np.maximum(board.excess(), 0), 0))
            slots, takers = slots[allowed], takers[allowed]
        board.replace(slots, takers)
        return len(slots)

    def _worst_replicas(self, partitions: Ints) -> Ints:
        """One slot of each partition: the one that is nearest to others, of these the one of the fullest device.

        Sometimes any other, since the worst one may have nowhere to go.
        """
        board = self._board
        rows = np.arange(len(board.ids))[:, None]
        slots = rows * board.partition_count + partitions
        devices = board.devices(slots)
        fullness = np.append(board.excess() / np.maximum(board.quota[:-1], 1), 0).clip(-1, 1)[devices]
        score = board.relief(slots.ravel()).reshape(slots.shape) + fullness / 4
        score += self._random.random(slots.shape) * np.where(self._random.random(len(partitions)) < 0.25, 100, 0.01)
        score[devices == board.nobody] = -np.inf
        worst: Ints = score.argmax(axis=0) * board.partition_count + partitions
        return worst

    def _balance(self) -> None:
        """Move replicas from over-full devices to devices with room, without bringing any closer together."""
        for _ in range(DETOURS_MAX):
            self._balance_directly()
            if not (self._board.excess() > 0).any() or not self._detour():
                break

    def _balance_directly(self) -> None:
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
            done = self._move(slots[left], takers[right], excess)
            # The fewer fit, the more are looked at in one round.
            offers = min(offers * 2, candidates.most_for_one()) if done * 4 < len(left) else offers
            fruitless = 0 if done else fruitless + 1

    def _move(self, slots: Ints, takers: Ints, excess: Ints) -> int:
        """Make the good ones of these replacements, no giver or taker beyond its quota; returns how many."""
        board = self._board
        good = board.change(slots, takers) <= 0
        slots, takers = slots[good], takers[good]
        allowed = within_limits(board.devices(slots), np.maximum(excess, 0))
        slots, takers = slots[allowed], takers[allowed]
        allowed = within_limits(takers, np.maximum(-excess, 0))
        board.replace(slots[allowed], takers[allowed])
        return int(np.count_nonzero(allowed))

    def _detour(self) -> bool:
        """Fill the room that over-full devices cannot use from others, which then have room in their stead.

        Replicas that are on the move anyway are redirected, which costs nothing; if none of them fits, others are
        moved. Returns whether anything was done.
        """
        board = self._board
        takers = self._takers()
        if not len(takers):
            return False
        takers = np.resize(takers, min(len(takers) * TRIES_PER_TAKER, TRIES_MAX))
        for pool in (self._underway(), self._unlocked()):
            if not len(pool):
                continue
            slots = pool[first_of_each(pool % board.partition_count)]
            slots = self._random.permutation(slots)[: len(takers)]
            tried = self._random.permutation(takers)[: len(slots)]
            good = (board.change(slots, tried) <= 0) & (board.excess()[board.devices(slots)] >= 0)
            slots, tried = slots[good], tried[good]
            allowed = within_limits(tried, np.maximum(-board.excess(), 0))
            if allowed.any():
                board.replace(slots[allowed], tried[allowed])
                return True
        return False

    def _underway(self) -> Ints:
        slots = np.flatnonzero(self._board.moved)
        return np.compress(self._board.devices(slots) != self._board.nobody, slots)

    def _unlocked(self) -> Ints:
        """A sample of the replicas that may be moved."""
        board = self._board
        wanted = min(len(self._takers()) * TRIES_PER_TAKER, TRIES_MAX)
        slots = self._random.integers(0, board.ids.size, wanted)
        free = ~board.locked[slots % board.partition_count] & (board.devices(slots) != board.nobody)
        return np.compress(free, slots)

    def _takers(self) -> Ints:
        """Each device with room as often as it lacks replicas."""
        return np.repeat(np.arange(self._board.nobody), np.maximum(-self._board.excess(), 0))

    def _any_devices(self, count: int) -> Ints:
        """Devices drawn by weight."""
        ends = np.cumsum(self._tiers.weights)
        drawn: Ints = np.searchsorted(ends, self._random.random(count) * ends[-1], side="right")
        return drawn
