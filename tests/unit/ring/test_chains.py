"""A board where no single replacement helps: what is too much can only leave by way of others."""

from __future__ import annotations

import numpy as np
import pytest

from objstore.ring.board import Board
from objstore.ring.chains import Chains
from objstore.ring.settings import RingSettings
from objstore.ring.spacing import PriceList, make_structure
from objstore.ring.tiers import NO_LIMIT, Ints, Tiers, make_tiers
from tests.unit.ring.factories import make_device


def board_of(ids: list[list[int]], quota: list[int], tiers: Tiers, locked: tuple[int, ...] = ()) -> Board:
    matrix = np.array(ids, np.int32)
    settings = RingSettings(matrix.shape[1].bit_length() - 1, len(matrix))
    prices = PriceList(make_structure(settings, tiers), len(matrix))
    lock = np.zeros(matrix.shape[1], np.bool_)
    lock[list(locked)] = True
    limits = np.full(len(quota), NO_LIMIT)
    return Board(matrix, prices, prices, np.array(quota), limits, lock, settings.long_count)


def settle(board: Board) -> Ints:
    """Settle what over-full devices have too much; returns what is left of it."""
    excess = np.append(np.maximum(board.excess(), 0), 0)
    slots = board.slots_on(excess > 0)
    slots = slots[~board.locked[slots % board.partition_count]]
    Chains(board, np.random.default_rng(1)).settle(slots, np.zeros(len(slots), np.int64), excess)
    return board.excess()


TIERS = make_tiers([make_device(number, ip=f"10.0.0.{number}") for number in range(4)])


def blocked() -> list[list[int]]:
    """Device 0 has one partition too many, device 3 one too few, and each partition of 0 is on 3 as well."""
    return [[0, 0, 1, 1], [3, 3, 2, 2]]


def test_a_chain_goes_by_way_of_a_third_device() -> None:
    board = board_of(blocked(), [1, 2, 2, 3], TIERS)
    assert (board.change(np.array([0, 1]), np.array([3, 3])) > 0).all()
    assert settle(board).tolist() == [0, 0, 0, 0]
    assert all(len(set(column)) == 2 for column in board.ids.T.tolist())


def test_each_partition_changes_once() -> None:
    board = board_of(blocked(), [1, 2, 2, 3], TIERS)
    before = board.ids.copy()
    settle(board)
    assert (before != board.ids).sum(axis=0).max() == 1
    assert board.locked.tolist() == (before != board.ids).any(axis=0).tolist()


def test_locked_partitions_are_no_part_of_a_chain() -> None:
    board = board_of(blocked(), [1, 2, 2, 3], TIERS, locked=(2, 3))
    assert settle(board).tolist() == [1, 0, 0, -1]


@pytest.mark.parametrize("quota", [[2, 2, 2, 2], [2, 2, 3, 3]])
def test_without_need_nothing_is_done(quota: list[int]) -> None:
    board = board_of(blocked(), quota, TIERS)
    before = board.ids.copy()
    settle(board)
    assert (board.ids == before).all()
