from __future__ import annotations

import contextlib

from hypothesis import given, settings
from hypothesis import strategies as st

from objstore.errors import StoreError
from objstore.ring.builder import RingBuilder
from objstore.ring.format import format_ring, parse_ring
from tests.properties.ring.clusters import START, clusters

some = settings(max_examples=40, deadline=None)


@some
@given(clusters(), st.integers(0, 2**32), st.data())
def test_handoffs_are_all_others_that_hold_anything_once_the_farthest_first(
    builder: RingBuilder, seed: int, data: st.DataObject
) -> None:
    builder.rebalance(seed, START)
    ring = builder.ring()
    partition = data.draw(st.integers(0, ring.partition_count - 1))
    primaries = ring.primaries(partition)
    handoffs = list(ring.handoffs(partition))
    assert handoffs == list(ring.handoffs(partition))
    holding = [device for device in ring.devices if any(device.id in row for row in ring.rows)]
    assert sorted(device.id for device in (*primaries, *handoffs)) == [device.id for device in holding]
    for place in (
        lambda device: device.region,
        lambda device: (device.region, device.zone),
        lambda device: (device.region, device.zone, device.ip),
    ):
        unseen = {place(device) for device in holding} - {place(device) for device in primaries}
        assert {place(device) for device in handoffs[: len(unseen)]} == unseen


@some
@given(clusters(), st.integers(0, 2**32))
def test_a_ring_survives_its_file(builder: RingBuilder, seed: int) -> None:
    builder.rebalance(seed, START)
    ring = builder.ring()
    again = parse_ring(format_ring(ring))
    assert (again.devices, again.rows, again.part_power) == (ring.devices, ring.rows, ring.part_power)
    assert (again.version, again.replica_count) == (ring.version, ring.replica_count)


@some
@given(clusters(), st.data())
def test_a_damaged_file_gives_a_clean_error(builder: RingBuilder, data: st.DataObject) -> None:
    builder.rebalance(1, START)
    content = bytearray(format_ring(builder.ring()))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    # Some bytes of the gzip header mean nothing, so a damage there may pass; nothing else may be raised.
    with contextlib.suppress(ValueError, StoreError):
        parse_ring(bytes(content))
