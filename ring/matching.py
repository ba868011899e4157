"""Pairing replicas that have to go with devices that have room."""

from __future__ import annotations

from typing import Final

import numpy as np

from objstore.ring.tiers import Bools, Ints, Tiers


class Matcher:
    """Pairs devices that have something to give with devices that can take it.

    Devices are given as arrays of ids in which each stands as often as it has to give or can take. The answers are
    positions in both arrays, of the same length. `nobody`, one more than the largest id, may be among the givers.
    """

    def __init__(self, tiers: Tiers, random: np.random.Generator) -> None:
        self._random: Final = random
        self._levels: Final = [np.append(nodes, -1) for nodes in tiers.nodes[2::-1]]

    def near(self, givers: Ints, takers: Ints) -> tuple[Ints, Ints]:
        """Pair as many as possible within servers, then within zones, regions, and anywhere; random among equals.

        Near pairs are best: they leave the larger domains as they are, and their data stay on near wires.
        """
        left, right = self._random.permutation(len(givers)), self._random.permutation(len(takers))
        pairs_left, pairs_right = [], []
        for nodes in self._levels:
            left, right, matched_left, matched_right = _match(nodes[givers[left]], nodes[takers[right]], left, right)
            pairs_left.append(matched_left)
            pairs_right.append(matched_right)
        rest_left, rest_right = self.anyhow(left, right)
        pairs_left.append(left[rest_left])
        pairs_right.append(right[rest_right])
        return np.concatenate(pairs_left), np.concatenate(pairs_right)

    def anyhow(self, givers: Ints, takers: Ints) -> tuple[Ints, Ints]:
        """Pair at random."""
        count = min(len(givers), len(takers))
        return self._random.permutation(len(givers))[:count], self._random.permutation(len(takers))[:count]


def _match(left_nodes: Ints, right_nodes: Ints, left: Ints, right: Ints) -> tuple[Ints, Ints, Ints, Ints]:
    """Pair entries of equal nodes; returns (left over, right over, matched left, matched right)."""
    left_order = np.argsort(left_nodes, kind="stable")
    right_order = np.argsort(right_nodes, kind="stable")
    left_sorted, right_sorted = left_nodes[left_order], right_nodes[right_order]
    left_in = _ranks(left_sorted) < _counts(right_sorted, left_sorted)
    right_in = _ranks(right_sorted) < _counts(left_sorted, right_sorted)
    left, right = left[left_order], right[right_order]
    return left[~left_in], right[~right_in], left[left_in], right[right_in]


def _ranks(ordered: Ints) -> Ints:
    """The position of each element among its equals."""
    return np.arange(len(ordered)) - np.searchsorted(ordered, ordered)


def _counts(ordered: Ints, wanted: Ints) -> Ints:
    """How often each wanted number stands in an ordered array."""
    return np.searchsorted(ordered, wanted, side="right") - np.searchsorted(ordered, wanted)


def first_of_each(values: Ints) -> Ints:
    """Positions of the first element of each value, ascending."""
    return np.sort(np.unique(values, return_index=True)[1])


def within_limits(values: Ints, limits: Ints) -> Bools:
    """Marks the first `limits[value]` elements of each value."""
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    marked = np.zeros(len(values), np.bool_)
    marked[order] = _ranks(ordered) < limits[ordered]
    return marked
