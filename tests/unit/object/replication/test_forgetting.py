"""What is left of deleted objects: how it is forgotten by all, and what is not lost on the way."""

from __future__ import annotations

import pytest

from objstore.object.replication.planning import removable
from objstore.object.versions import forgettable_names, is_held, resolve_versions
from objstore.scheme import WHOLE_REPLICAS
from tests.unit.object.replication.cluster import DAY, Replicas, at


def test_a_handoff_learns_of_deletions_while_a_primary_is_away(replicas: Replicas) -> None:
    """It cannot give up anything as long as that is so, and primaries do not ask it before they forget."""
    replicas.servers[2].down = True
    for number in (0, 1, 3):
        replicas.put(number, "deleted", 1)
        replicas.put(number, "overwritten", 1)
    replicas.replicate(0, 1, 3)
    for number in (0, 1):
        replicas.delete(number, "deleted", 5)
        replicas.put(number, "overwritten", 5)
    for _ in range(9):
        replicas.pass_time(DAY)
        replicas.replicate(0, 1, 3)
    assert replicas.names(3, "deleted") == [at(5) + ".ts"]
    assert replicas.names(3, "overwritten") == [at(1) + ".data"]  # newer data are not for a handoff to keep
    replicas.servers[2].down = False
    replicas.replicate(0, 1, 3, 2)
    assert [replicas.names(number, "deleted") for number in range(4)] == [[]] * 4
    assert replicas.files(3) == {}
    assert all(replicas.names(number, "overwritten") == [at(5) + ".data"] for number in range(3))


def delete_beneath_metadata(replicas: Replicas, *numbers: int) -> None:
    """The metadata are set by a clock that is ahead: they outlive the object."""
    for number in numbers:
        replicas.put(number, "o", 1)
        replicas.post(number, "o", 4000, colour="blue")
        replicas.delete(number, "o", 5)
        assert {at(5) + ".ts", at(4000) + ".meta"} <= set(replicas.names(number, "o"))


def test_metadata_are_forgotten_with_the_tombstone_before_them(replicas: Replicas) -> None:
    delete_beneath_metadata(replicas, 0, 1, 2)
    replicas.pass_time(7 * DAY + 60)
    replicas.replicate(0, 1, 2)
    assert replicas.names(0, "o") == [at(5) + ".ts", at(4000) + ".meta"]  # that is not old enough
    replicas.pass_time(4000)
    replicas.replicate(0, 1, 2)
    assert [replicas.names(number, "o") for number in range(3)] == [[]] * 3
    for number in range(3):
        replicas.put(number, "o", 6)
        stored = replicas.stored(number, "o")
        assert stored is not None and stored.info.headers == {}


def test_a_handoff_gives_up_such_metadata_that_primaries_have_forgotten(replicas: Replicas) -> None:
    delete_beneath_metadata(replicas, 3)
    replicas.pass_time(8 * DAY)
    replicas.replicate(3)
    assert all(replicas.files(number) == {} for number in range(4))


def test_old_metadata_still_travel_to_the_data_they_belong_to(replicas: Replicas) -> None:
    for number in range(3):
        replicas.put(number, "o", 1)
    replicas.post(0, "o", 2, colour="blue")
    replicas.pass_time(8 * DAY)
    (replicas.directory(0, "o") / (at(1) + ".data")).unlink()
    replicas.replicate(1)
    replicas.replicate()
    assert all(replicas.names(number, "o") == [at(1) + ".data", at(2) + ".meta"] for number in range(3))


def test_a_handoff_keeps_metadata_as_long_as_the_data(replicas: Replicas) -> None:
    """A primary that has lost both between being given them and being asked would do without the metadata alone."""
    replicas.put(3, "o", 1)
    replicas.post(3, "o", 2, colour="blue")
    replicas.pass_time(8 * DAY)
    replicas.lose_before_confirming(1, "o")
    replicas.replicate(3)
    assert replicas.names(3, "o") == [at(1) + ".data", at(2) + ".meta"]


def test_traces_are_as_old_as_the_newest_of_them() -> None:
    tombstone, meta, data = at(5) + ".ts", at(9) + ".meta", at(7) + ".data"
    fragment = at(7) + "#1.data"
    assert resolve_versions([tombstone]).plain.newest_trace == at(5)
    for traces in ([tombstone, meta], [meta]):
        assert resolve_versions(traces).plain.newest_trace == at(9)
        assert forgettable_names(resolve_versions(traces), at(10)) == tuple(traces)
        assert forgettable_names(resolve_versions(traces), at(9)) == ()
    for names in ([data, meta], [fragment, tombstone], [], ["unknown"], [f"{at(5)}!null.ts"]):
        assert resolve_versions(names).plain.newest_trace == ""
        assert forgettable_names(resolve_versions(names), at(10)) == ()
    assert is_held(meta, resolve_versions([tombstone]), at(10))
    assert not is_held(meta, resolve_versions([tombstone]), at(9))
    assert not is_held(meta, resolve_versions([data]), at(10))
    assert removable({"h": [data, meta]}, [{"h": [meta]}], WHOLE_REPLICAS) == {}


def test_each_line_is_forgotten_by_itself() -> None:
    kept, marker, removal = f"{at(1)}!.data", f"{at(2)}!.ts", f"{at(5)}!{at(3)}.ts"
    current = resolve_versions([kept, marker, removal, at(4) + ".ts"])
    assert forgettable_names(current, at(5)) == (at(4) + ".ts",)
    assert forgettable_names(current, at(6)) == (at(4) + ".ts", removal)
    assert not is_held(f"{at(5)}!{at(1)}.ts", current, at(9))
    assert is_held(f"{at(5)}!{at(7)}.ts", current, at(9))
    assert is_held(f"{at(9)}!{at(3)}.meta", current)
    assert not is_held(f"{at(9)}!{at(1)}.meta", current)


def test_removal_marks_are_forgotten_beside_versions_that_live(replicas: Replicas) -> None:
    for number in range(3):
        replicas.put(number, "o", 1, mode="keep")
        replicas.put(number, "o", 2, mode="keep")
    replicas.remove(0, "o", 2, 3)
    replicas.replicate(0)
    for number in range(3):
        assert replicas.names(number, "o") == [f"{at(1)}!.data", f"{at(3)}!{at(2)}.ts"]
    for _ in range(9):
        replicas.pass_time(DAY)
        replicas.replicate(0, 1, 2)
    assert [replicas.names(number, "o") for number in range(3)] == [[f"{at(1)}!.data"]] * 3


def test_a_handoff_learns_that_a_version_was_removed_while_a_primary_is_away(replicas: Replicas) -> None:
    replicas.servers[2].down = True
    for number in (0, 1, 3):
        replicas.put(number, "o", 1, mode="keep")
        replicas.put(number, "o", 2, mode="keep")
    replicas.replicate(0, 1, 3)
    for number in (0, 1):
        replicas.remove(number, "o", 1, 5)
    for _ in range(9):
        replicas.pass_time(DAY)
        replicas.replicate(0, 1, 3)
    assert replicas.names(3, "o") == [f"{at(2)}!.data", f"{at(5)}!{at(1)}.ts"]
    replicas.servers[2].down = False
    for _ in range(2):
        replicas.replicate(0, 1, 3, 2)
    assert [replicas.names(number, "o") for number in range(3)] == [[f"{at(2)}!.data"]] * 3
    assert replicas.files(3) == {}


def test_a_handoff_gives_up_more_versions_than_one_request_names(
    replicas: Replicas, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("partitions", "server", "receiving"):
        monkeypatch.setattr(f"objstore.object.replication.{module}.FILES_MAX", 3)
    for second in range(1, 9):
        replicas.put(3, "o", second, mode="keep")
    replicas.replicate(3)
    assert replicas.files(3) == {}
    assert [len(replicas.names(number, "o")) for number in range(3)] == [8] * 3
