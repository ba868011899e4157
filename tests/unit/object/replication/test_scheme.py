"""Which device should hold which file, by the scheme of its policy."""

from __future__ import annotations

import pytest

from objstore.object.file_names import data_name, meta_name, tombstone_name
from objstore.object.replication.planning import removable, should_hold
from objstore.scheme import WHOLE_REPLICAS, Scheme, fragments_of
from tests.unit.object.replication.cluster import at

FIRST, SECOND = data_name(at(1), 0), data_name(at(1), 1)
META, TOMBSTONE, WHOLE = meta_name(at(2)), tombstone_name(at(3)), data_name(at(1))


FRAGMENTS: Scheme = fragments_of("isa_l_rs_cauchy", 2, 1, 65536, 1, 4096)


@pytest.mark.parametrize("scheme", [WHOLE_REPLICAS, FRAGMENTS])
@pytest.mark.parametrize("piece", [0, 1, 2, None])
def test_every_primary_holds_whole_replicas(piece: int | None, scheme: Scheme) -> None:
    assert should_hold(WHOLE, piece, scheme)


@pytest.mark.parametrize("scheme", [WHOLE_REPLICAS, FRAGMENTS])
@pytest.mark.parametrize("name", [META, TOMBSTONE])
def test_every_primary_holds_metadata_and_tombstones(name: str, scheme: Scheme) -> None:
    assert all(should_hold(name, piece, scheme) for piece in (0, 1, 2, None))


def test_a_primary_holds_its_own_fragment_alone() -> None:
    assert [should_hold(SECOND, piece, FRAGMENTS) for piece in (0, 1, 2)] == [False, True, False]
    assert should_hold(SECOND, None, FRAGMENTS)  # a handoff


def test_a_fragment_that_is_duplicated_has_several_primaries() -> None:
    doubled = fragments_of("isa_l_rs_cauchy", 2, 1, 65536, 2, 4096)
    assert [should_hold(SECOND, piece, doubled) for piece in range(6)] == [False, True, False] * 2


def test_a_handoff_removes_a_fragment_that_its_own_primary_confirms() -> None:
    mine = {"h": [FIRST, SECOND]}
    assert removable(mine, [{"h": [FIRST]}, {}, {}], FRAGMENTS) == {"h": (FIRST,)}
    assert removable(mine, [{"h": [SECOND]}, {"h": [FIRST]}, {}], FRAGMENTS) == {}


def test_a_handoff_keeps_a_fragment_that_no_primary_should_hold() -> None:
    assert removable({"h": [SECOND]}, [{"h": [SECOND]}], FRAGMENTS) == {}


def test_a_handoff_keeps_metadata_until_every_primary_confirms_them() -> None:
    assert removable({"h": [META]}, [{"h": [META]}, {}], FRAGMENTS) == {}
    assert removable({"h": [META]}, [{"h": [META]}] * 2, FRAGMENTS) == {"h": (META,)}


def test_a_handoff_keeps_a_replica_until_every_primary_confirms_it() -> None:
    assert removable({"h": [WHOLE]}, [{"h": [WHOLE]}, {"h": [WHOLE]}, {}], WHOLE_REPLICAS) == {}
    assert removable({"h": [WHOLE]}, [{"h": [WHOLE]}] * 3, WHOLE_REPLICAS) == {"h": (WHOLE,)}
