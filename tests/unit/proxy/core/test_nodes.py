"""Order of nodes, and those left alone."""

from __future__ import annotations

from random import Random
from typing import cast

from objstore.paths import PathHasher, ResourcePath
from objstore.proxy.core.nodes import NodeSelector, Placement
from tests.doubles import ManualClock
from tests.unit.proxy.store import FirstPartition, make_ring, refusal


def make_place(devices: int = 6) -> Placement:
    ring = make_ring("o", 6200, devices)
    return Placement.of(ResourcePath("a", "c", "o"), ring, cast(PathHasher, FirstPartition()))


def make_nodes() -> tuple[NodeSelector, ManualClock]:
    clock = ManualClock()
    return NodeSelector(clock, Random(1), interval_seconds=60.0, limit=3), clock


def names(found: object) -> list[str]:
    return [node.device for node in found]  # type: ignore[attr-defined]


def test_without_failures_writes_go_to_primaries_and_handoffs_stand_by() -> None:
    nodes, _ = make_nodes()
    chosen, spares = nodes.for_writing(make_place())
    assert names(chosen) == ["o0", "o1", "o2"]
    assert sorted(names(spares)) == ["o3", "o4", "o5"]


def test_a_node_is_left_alone_after_failures_and_for_a_time() -> None:
    nodes, clock = make_nodes()
    place = make_place()
    node = place.primaries[0]
    nodes.record_failure(node)
    nodes.record_error(node, refusal(503))
    assert not nodes.error_limited(node)
    nodes.record_failure(node)
    assert nodes.error_limited(node)
    assert "o0" not in names(nodes.for_reading(place))
    assert names(nodes.error_limited_primaries(place)) == ["o0"]
    chosen, spares = nodes.for_writing(place)
    assert names(chosen)[:2] == ["o1", "o2"]
    assert names(spares)[-1] == "o0"
    clock.seconds += 60
    assert not nodes.error_limited(node)
    assert names(nodes.for_writing(place)[0]) == ["o0", "o1", "o2"]


def test_failures_far_apart_do_not_add_up() -> None:
    nodes, clock = make_nodes()
    node = make_place().primaries[0]
    for _ in range(5):
        nodes.record_failure(node)
        clock.seconds += 61
    assert not nodes.error_limited(node)


def test_a_missing_disk_is_left_alone_at_once_and_no_other_of_its_server() -> None:
    nodes, _ = make_nodes()
    place = make_place()
    nodes.record_error(place.primaries[1], refusal(507))
    assert [nodes.error_limited(node) for node in place.primaries] == [False, True, False]


def test_a_full_disk_is_not_left_alone() -> None:
    nodes, _ = make_nodes()
    node = make_place().primaries[1]
    for _ in range(5):
        nodes.record_error(node, refusal(507, {"X-Backend-Device-Full": "true"}))
    assert not nodes.error_limited(node)


def test_where_there_are_not_enough_others_limited_ones_serve() -> None:
    nodes, _ = make_nodes()
    place = make_place(devices=4)
    for node in place.primaries[:2]:
        nodes.record_error(node, refusal(507))
    chosen, spares = nodes.for_writing(place)
    assert names(chosen) == ["o2", "o3", "o0"]
    assert names(spares) == ["o1"]
