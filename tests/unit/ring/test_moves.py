from __future__ import annotations

import numpy as np

from objstore.ring.layout import Layout
from objstore.ring.moves import arrivals, moves_between, worst_partition
from objstore.ring.settings import RingSettings
from objstore.ring.tiers import LEVEL_NAMES, make_tiers
from tests.unit.ring.factories import make_device

# Two zones of two servers each, one device to a server; devices 4 and 5 share the server of device 3.
PLACES = [(0, "10.0.0.1"), (0, "10.0.0.2"), (1, "10.0.1.1"), (1, "10.0.1.2"), (1, "10.0.1.2"), (1, "10.0.1.2")]
TIERS = make_tiers([make_device(number, zone=zone, ip=ip) for number, (zone, ip) in enumerate(PLACES)])
NOBODY = 0xFFFF
ZONE = LEVEL_NAMES.index("zone")


def layout(*rows: list[int], replicas: float | None = None) -> Layout:
    settings = RingSettings(len(rows[0]).bit_length() - 1, len(rows) if replicas is None else replicas)
    return Layout(settings, np.array(rows, np.uint16))


def test_what_changes_its_row_is_not_moved() -> None:
    old, new = layout([0, 1, 2, 3], [2, 3, 0, 1]), layout([2, 1, 2, 3], [0, 4, 0, 1])
    assert arrivals(old, new).tolist() == [[False] * 4, [False, True, False, False]]
    moves = moves_between(old, new, TIERS)
    assert moves.departures.tolist() == [0, 0, 0, 1, 0, 0]
    assert moves.arrivals.tolist() == [0, 0, 0, 0, 1, 0]
    assert (moves.count, moves.partitions) == (1, 1)


def test_a_second_copy_on_a_device_is_moved() -> None:
    moves = moves_between(layout([0, 1], [2, 2]), layout([2, 1], [2, 2]), TIERS)
    assert moves.departures.tolist() == [1, 0, 0, 0, 0, 0]
    assert moves.arrivals.tolist() == [0, 0, 1, 0, 0, 0]


def test_moves_of_a_tier_are_those_of_its_devices() -> None:
    moves = moves_between(layout([0, 1, 2, 3], [2, 3, 0, 1]), layout([1, 1, 2, 3], [2, 3, 4, 0]), TIERS)
    assert moves.departures_by(ZONE).tolist() == [3, 0]
    assert moves.arrivals_by(ZONE).tolist() == [2, 1]


def test_at_first_everything_arrives() -> None:
    first = layout([0, 1, 2, 3], [2, 3, NOBODY, NOBODY], replicas=1.5)
    moves = moves_between(None, first, TIERS)
    assert moves.arrivals.tolist() == [1, 1, 2, 2, 0, 0]
    assert (moves.departures.sum(), moves.partitions) == (0, 4)


def test_replicas_come_and_go_with_their_number() -> None:
    fewer, more = layout([0, 1], [2, NOBODY], replicas=1.5), layout([0, 1], [2, 3], [3, NOBODY], replicas=2.5)
    raised, lowered = moves_between(fewer, more, TIERS), moves_between(more, fewer, TIERS)
    assert raised.arrivals.tolist() == lowered.departures.tolist() == [0, 0, 0, 2, 0, 0]
    assert raised.count == raised.partitions == lowered.partitions == 2
    assert (raised.departures.sum(), lowered.arrivals.sum()) == (0, 0)


def test_ids_of_different_widths_are_compared_by_value() -> None:
    narrow = layout([0, 1], [2, NOBODY], replicas=1.5)
    wide = Layout(narrow.settings, np.array([[0, 1], [2, 0xFFFFFFFF]], np.uint32))
    assert not arrivals(narrow, wide).any()
    assert not arrivals(wide, narrow).any()


def test_the_worst_partition_is_the_one_with_most_replicas_in_one_place() -> None:
    fine = [0, 2, 0, 2], [2, 1, 3, 0]
    assert worst_partition(layout(*fine), TIERS) is None
    one_zone = layout([0, 2, 0, 2], [2, 3, 3, 0])
    found = worst_partition(one_zone, TIERS)
    assert found is not None
    assert (found.partition, found.level_name, found.device_ids) == (1, "zone", (2, 3))
    assert (found.sharing, found.allowed, found.node) == (2, 1, int(TIERS.nodes[ZONE][2]))
    one_device = worst_partition(layout([0, 2, 0, 2], [2, 3, 3, 2]), TIERS)
    assert one_device is not None
    assert (one_device.partition, one_device.level_name) == (3, "device")


def test_partitions_with_fewer_replicas_are_looked_at_too() -> None:
    found = worst_partition(layout([0, 2, 0, 2], [2, 0, 3, 3], [1, NOBODY, NOBODY, NOBODY], replicas=2.25), TIERS)
    assert found is not None
    assert (found.partition, found.level_name) == (3, "zone")
