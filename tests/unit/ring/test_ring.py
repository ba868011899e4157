from __future__ import annotations

import hashlib
from array import array

import pytest

from objstore.paths import PathHasher, ResourcePath
from objstore.ring.builder import build_ring
from objstore.ring.ring import Ring
from tests.unit.ring.factories import make_device, make_devices


def test_the_partition_is_the_top_bits_of_the_digest() -> None:
    ring = build_ring(make_devices(4), part_power=8, replicas=3, seed=1)
    digest = PathHasher("head", "tail").digest(ResourcePath("a", "c", "o"))
    assert digest == hashlib.md5(b"head/a/c/otail").digest()
    assert ring.partition_of(digest) == digest[0]


def test_part_power_0_has_one_partition() -> None:
    ring = build_ring(make_devices(4), part_power=0, replicas=3, seed=1)
    assert ring.partition_count == 1
    assert ring.partition_of(b"\xff" * 16) == 0
    assert not list(ring.handoffs(0))  # the fourth device holds nothing


def test_primaries_come_in_the_order_of_replicas_and_once_each() -> None:
    devices = make_devices(3)
    ring = Ring(1, devices, [array("H", [2, 1]), array("H", [0, 1]), array("H", [2, 2])])
    assert ring.primaries(0) == (devices[2], devices[0])
    assert ring.primaries(1) == (devices[1], devices[2])


def test_a_fractional_ring_has_fewer_primaries_for_later_partitions() -> None:
    ring = build_ring(make_devices(8), part_power=4, replicas=2.25, seed=1)
    assert [len(ring.primaries(partition)) for partition in range(16)] == [3] * 4 + [2] * 12
    assert ring.replica_count == 2.25


def test_an_unknown_partition_raises() -> None:
    ring = build_ring(make_devices(4), part_power=4, replicas=3, seed=1)
    with pytest.raises(IndexError):
        ring.primaries(16)


@pytest.mark.parametrize(
    "rows",
    [
        [],
        [array("H")],
        [array("H", [0, 1, 0])],
        [array("H", [0]), array("H", [0, 1])],
        [array("H", [0, 7])],
        [array("H", [0, 2])],
    ],
    ids=["no rows", "empty row", "row too long", "short row not last", "id too large", "id of no device"],
)
def test_rows_that_do_not_fit_are_refused(rows: list[array[int]]) -> None:
    devices = [make_device(0), make_device(1), make_device(3)]
    with pytest.raises(ValueError, match="replica"):
        Ring(1, devices, rows)


def test_two_devices_of_one_id_are_refused() -> None:
    with pytest.raises(ValueError, match="id 1"):
        Ring(0, [make_device(1), make_device(1)], [array("H", [1])])


def test_handoffs_visit_new_regions_then_zones_then_servers() -> None:
    devices = [
        make_device(0, 1, 1, "10.0.0.1"),
        make_device(1, 1, 1, "10.0.0.1"),
        make_device(2, 1, 1, "10.0.0.2"),
        make_device(3, 1, 2, "10.0.1.1"),
        make_device(4, 2, 1, "10.1.0.1"),
    ]
    row = array("H", [partition % 5 for partition in range(64)])
    ring = Ring(6, devices, [row])
    assert [device.id for device in ring.handoffs(0)] == [4, 3, 2, 1]


def test_handoffs_are_the_devices_that_hold_anything_also_while_they_are_drained() -> None:
    devices = [make_device(0), make_device(1, weight=0), make_device(2), make_device(3)]
    ring = Ring(2, devices, [array("H", [0, 1, 2, 0])])
    assert {device.id for device in ring.handoffs(0)} == {1, 2}
    assert {device.id for device in ring.handoffs(1)} == {0, 2}


def test_lost_partitions_hand_off_to_different_devices() -> None:
    ring = build_ring(make_devices(20), part_power=10, replicas=3, seed=1)
    lost = [partition for partition in range(1024) if ring.primaries(partition)[0].id == 0]
    assert len({next(ring.handoffs(partition)).id for partition in lost}) > 5
