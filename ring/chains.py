"""Chains of replacements: one device takes a replica and gives another one away, which the next one takes, and so on.

For the last few replicas that no single replacement, and no random detour, brings to a device with room.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from objstore.ring.board import Board
from objstore.ring.tiers import Bools, Ints

EDGES_MAX: Final = 1 << 20  # replacements looked at; beyond it a random part of them
SLOTS_MIN: Final = 64  # with so many devices that fewer slots could be looked at, chains are not tried
WORK_MAX: Final = 1 << 26  # edges looked at in all searches together


@dataclass(frozen=True, eq=False)
class Edges:
    """Possible replacements: of what is in a slot, which is on device `giver`, by device `taker`."""

    slots: Ints
    givers: Ints
    takers: Ints

    def __len__(self) -> int:
        return len(self.slots)


class Chains:
    def __init__(self, board: Board, random: np.random.Generator) -> None:
        self._board: Final = board
        self._random: Final = random

    def settle(self, slots: Ints, price_limits: Ints, most: Ints) -> None:
        """Bring these slots to devices with room, no replacement dearer than the limits (by slot) or, further on, 0.

        `most` (how many may leave) is by device, with nobody at the end.
        """
        board = self._board
        if not len(slots) or not (board.excess() < 0).any():
            return
        starts = self._edges(slots, price_limits)
        if not len(starts):
            return
        free = np.flatnonzero(np.tile(~board.locked, len(board.ids))[: board.slot_count])
        free = free[board.devices(free) != board.nobody]
        links = self._edges(free, np.zeros(len(free), np.int64))
        touched = np.zeros(board.partition_count, np.bool_)
        for _ in range(WORK_MAX // (len(starts) + len(links)) + 1):
            starts = _chosen(starts, ~touched[starts.slots % board.partition_count] & (most[starts.givers] > 0))
            links = _chosen(links, ~touched[links.slots % board.partition_count])
            path = _shortest(starts, links, board.excess())
            if path is None:
                return
            partitions = path.slots % board.partition_count
            if len(np.unique(partitions)) < len(partitions):
                # A partition may change once; the chain is tried without what changes it a second time.
                links = _chosen(links, ~np.isin(links.slots, path.slots[1:]))
                continue
            most[path.givers[0]] -= 1
            board.replace(path.slots, path.takers)
            touched[partitions] = True

    def _edges(self, slots: Ints, price_limits: Ints) -> Edges:
        """The replacements in these slots that keep to the price limits, in random order."""
        board = self._board
        takers = np.flatnonzero(board.quota[: board.nobody] > 0)
        count = min(len(slots), EDGES_MAX // len(takers))
        if count < min(len(slots), SLOTS_MIN):
            count = 0
        sample = self._random.permutation(len(slots))[:count]
        slots, price_limits = np.repeat(slots[sample], len(takers)), np.repeat(price_limits[sample], len(takers))
        edges = Edges(slots, board.devices(slots), np.tile(takers, count))
        good = (edges.givers != edges.takers) & (board.change(slots, edges.takers) <= price_limits)
        order = self._random.permutation(np.flatnonzero(good))
        return Edges(edges.slots[order], edges.givers[order], edges.takers[order])


def _chosen(edges: Edges, marked: Bools) -> Edges:
    return Edges(edges.slots[marked], edges.givers[marked], edges.takers[marked])


def _shortest(starts: Edges, links: Edges, excess: Ints) -> Edges | None:
    """The edges, in order, of the shortest way over a start and any links to a device with room, if there is one."""
    devices = len(excess)
    came_by = np.full(devices + 1, -1)
    came_by[starts.takers] = np.arange(len(starts))
    frontier = np.unique(starts.takers)
    while len(frontier):
        there = frontier[excess[frontier] < 0]
        if len(there):
            return _traced(starts, links, came_by, int(there[0]))
        reached = np.zeros(devices + 1, np.bool_)
        reached[frontier] = True
        onward = np.flatnonzero(reached[links.givers] & (came_by[links.takers] < 0))
        came_by[links.takers[onward]] = onward + len(starts)
        frontier = np.unique(links.takers[onward])
    return None


def _traced(starts: Edges, links: Edges, came_by: Ints, end: int) -> Edges:
    path: list[tuple[int, int, int]] = []
    place = end
    while True:
        number = int(came_by[place])
        edges, number = (starts, number) if number < len(starts) else (links, number - len(starts))
        place = int(edges.givers[number])
        path.insert(0, (int(edges.slots[number]), place, int(edges.takers[number])))
        if edges is starts:
            slots, givers, takers = np.array(path).T
            return Edges(slots, givers, takers)
