"""Replicas of over-full devices, offered in random order."""

from __future__ import annotations

from typing import Final

import numpy as np

from objstore.ring.board import Board
from objstore.ring.tiers import Bools, Ints


class Candidates:
    """Goes through the unlocked slots of some devices, each device's in random order, round and round."""

    def __init__(self, board: Board, marked: Bools, random: np.random.Generator) -> None:
        """`marked` by device id."""
        self._board: Final = board
        slots = random.permutation(board.slots_on(np.append(marked, False)))
        self._slots = slots[np.argsort(board.devices(slots), kind="stable")]
        self._drop_locked()

    def next(self, counts: Ints) -> Ints:
        """The next `counts[device]` slots of each device, fewer if it has not so many; none are locked."""
        slots = self._advance(counts)
        free = slots[~self._locked(slots)]
        if len(free) * 2 < len(slots):
            self._drop_locked()
            return free if len(free) else self._advance(counts)
        return free

    def most_for_one(self) -> int:
        """How many slots the device with the most has."""
        return int(self._lengths.max(initial=0))

    def _advance(self, counts: Ints) -> Ints:
        counts = np.minimum(counts, self._lengths)
        devices = np.repeat(np.arange(len(counts)), counts)
        rank = np.arange(len(devices)) - np.repeat(np.cumsum(counts) - counts, counts)
        place = (self._taken[devices] + rank) % self._lengths[devices]
        self._taken += counts
        return self._slots[self._starts[devices] + place]

    def _locked(self, slots: Ints) -> Bools:
        locked: Bools = self._board.locked[slots % self._board.partition_count]
        return locked

    def _drop_locked(self) -> None:
        self._slots = self._slots[~self._locked(self._slots)]
        self._lengths = np.bincount(self._board.devices(self._slots), minlength=self._board.nobody)
        self._starts = np.cumsum(self._lengths) - self._lengths
        self._taken = np.zeros(self._board.nobody, np.int64)
