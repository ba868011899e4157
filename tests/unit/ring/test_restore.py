from __future__ import annotations

from array import array

import pytest

from objstore.ring.builder import new_builder, restore_builder
from objstore.ring.errors import BuilderError
from objstore.ring.settings import RingSettings
from tests.unit.ring.factories import make_device, make_devices


@pytest.mark.parametrize("replicas", [1, 2.5, 3])
def test_a_builder_from_the_rows_of_a_ring_gives_the_ring(replicas: float) -> None:
    builder = new_builder(RingSettings(6, replicas), make_devices(8))
    builder.rebalance(1, 0.0)
    ring = builder.ring()
    restored = restore_builder(builder.settings, ring.devices, ring.rows)
    assert restored.ring().rows == ring.rows
    assert restored.ring().devices == ring.devices
    assert restored.plan(2, 0.0).moved_count == 0
    assert restored.next_id == 8


def test_many_devices_take_wide_ids() -> None:
    devices = [make_device(0), make_device(70_000)]
    restored = restore_builder(RingSettings(1, 1), devices, [array("I", [0, 70_000])])
    assert restored.ring().rows == (array("I", [0, 70_000]),)


def test_the_largest_narrow_id_is_not_taken_for_a_hole() -> None:
    restored = restore_builder(RingSettings(1, 1), [make_device(0xFFFF)], [array("H", [0xFFFF, 0xFFFF])])
    assert restored.ring().rows[0].tolist() == [0xFFFF, 0xFFFF]


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ([], "do not have 2 partitions"),
        ([array("H", [])], "do not have 2 partitions"),
        ([array("H", [0, 0, 0])], "do not have 2 partitions"),
        ([array("H", [0]), array("H", [0, 0])], "do not have 2 partitions"),
        ([array("H", [0, 5])], "does not exist, with the id 5"),
        ([array("H", [0, 0xFFFF])], "without a device"),
        ([array("h", [0, -1])], "without a device"),
    ],
)
def test_rows_that_fit_nothing_are_refused(rows: list[array[int]], reason: str) -> None:
    with pytest.raises(BuilderError, match=reason):
        restore_builder(RingSettings(1, 1), [make_device(0)], rows)
