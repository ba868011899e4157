"""What replicas tell each other and what a handoff gives up, for any files on any of them."""

from __future__ import annotations

from hypothesis import example, given, settings
from hypothesis import strategies as st

from objstore.object.file_names import (
    MetaFile,
    Tombstone,
    data_name,
    marker_name,
    meta_name,
    parse_name,
    tombstone_name,
)
from objstore.object.replication.planning import handoff_names, plan_transfer, removable, tombstones_to_pull
from objstore.object.versions import ObjectVersions, forgettable_names, is_held, live_names, resolve_versions
from objstore.scheme import WHOLE_REPLICAS
from objstore.timestamps import Timestamp

# Few moments, so that files of one timestamp meet on several replicas.
timestamps = st.builds(Timestamp, st.integers(0, 3), st.integers(0, 1)).map(lambda moment: moment.internal)
metas = st.tuples(timestamps, timestamps).map(lambda pair: meta_name(max(pair), min(pair)))
plain_names = st.one_of(timestamps.map(data_name), timestamps.map(meta_name), timestamps.map(tombstone_name), metas)
version_names = st.one_of(
    st.tuples(timestamps, timestamps).map(lambda pair: data_name(max(pair), version=min(pair))),
    st.builds(marker_name, timestamps, st.booleans()),
    st.builds(meta_name, timestamps, version=timestamps),
    st.builds(tombstone_name, timestamps, timestamps),
)
replicas = st.one_of(st.sets(plain_names, max_size=5), st.sets(plain_names | version_names, max_size=8))
# Never, or a moment before which lone tombstones are forgotten.
forgotten_before = st.one_of(st.just(""), timestamps)


def resolved(files: set[str], before: str = "") -> tuple[str, ...]:
    """What replicas have in common once they agree: an old tombstone that deletes nothing does not count."""
    current = resolve_versions(files)
    return tuple(name for name in live_names(current) if name not in forgettable_names(current, before))


def sync(mine: set[str], theirs: set[str], before: str) -> None:
    """Both directions of one plan_transfer; each side drops what is obsolete by then."""
    plan = plan_transfer(resolve_versions(mine), resolve_versions(theirs), before)
    mine |= set(plan.pull)
    theirs |= set(plan.push)
    for side in (mine, theirs):
        side -= set(resolve_versions(side).obsolete)


@settings(max_examples=500)
@given(replicas, replicas, forgotten_before)
def test_two_replicas_agree_after_one_exchange(mine: set[str], theirs: set[str], before: str) -> None:
    union = mine | theirs
    sync(mine, theirs, before)
    assert resolved(mine, before) == resolved(theirs, before) == resolved(union, before)
    if not forgettable_names(resolve_versions(union), before):
        assert mine == theirs
        assert resolve_versions(mine).lines == resolve_versions(set(live_names(resolve_versions(union)))).lines


@given(st.lists(replicas, min_size=3, max_size=3), forgotten_before)
def test_three_replicas_agree_after_a_pass_of_each(holders: list[set[str]], before: str) -> None:
    union = set().union(*holders)
    for mine in holders:
        for theirs in holders:
            if theirs is not mine:
                sync(mine, theirs, before)
    assert {resolved(files, before) for files in holders} == {resolved(union, before)}
    for mine in holders:
        for theirs in holders:
            plan = plan_transfer(resolve_versions(mine), resolve_versions(theirs), before)
            assert not plan.push and not plan.pull


@example([set(), {"0000000000.00000.ts"}, {"0000000000.00000.data"}], "0000000001.00000")
@given(st.lists(replicas, min_size=3, max_size=3), forgotten_before)
def test_one_replica_that_is_behind_has_all_after_its_own_passes(holders: list[set[str]], before: str) -> None:
    """An old tombstone travels to it only in the second, if the first has brought what that deletes."""
    union = set().union(*holders)
    mine, *others = holders
    for theirs in others * 2:
        sync(mine, theirs, before)
    assert resolved(mine, before) == resolved(union, before)


@given(replicas, replicas, forgotten_before)
def test_nothing_obsolete_travels_and_nothing_twice(mine: set[str], theirs: set[str], before: str) -> None:
    plan = plan_transfer(resolve_versions(mine), resolve_versions(theirs), before)
    needed = set(live_names(resolve_versions(mine | theirs)))
    assert set(plan.push) <= (mine - theirs) & needed
    assert set(plan.pull) <= (theirs - mine) & needed


@given(replicas, replicas, timestamps)
def test_old_traces_travel_only_to_whom_they_mean_something(mine: set[str], theirs: set[str], before: str) -> None:
    plan = plan_transfer(resolve_versions(mine), resolve_versions(theirs), before)
    old = forgettable_names(resolve_versions(mine), before)
    for name in plan.push:
        assert name not in old or resolve_versions(theirs).line_of(name).names


@given(replicas, replicas, forgotten_before)
def test_a_deletion_travels_to_whom_it_deletes_something_of(mine: set[str], theirs: set[str], before: str) -> None:
    union = resolve_versions(mine | theirs)
    sync(mine, theirs, before)
    for line in union.lines:
        if line.tombstone is not None:
            assert not any(resolve_versions(files).line(line.version).is_live for files in (mine, theirs))


@given(replicas, replicas, forgotten_before)
def test_a_handoff_learns_of_what_deletes_its_files_and_of_nothing_else(
    handoff: set[str], primary: set[str], before: str
) -> None:
    taken = tombstones_to_pull(
        resolve_versions(handoff), plan_transfer(resolve_versions(handoff), resolve_versions(primary), before).pull
    )
    assert all(name in primary and isinstance(parse_name(name), Tombstone) for name in taken)
    after, union = resolve_versions(handoff | set(taken)), resolve_versions(handoff | primary)
    for line in union.lines:
        if line.tombstone is not None:
            assert not after.line(line.version).is_live


def confirmed(files: set[str], asked: list[str], before: str) -> dict[str, list[str]]:
    """What a primary answers: see ReplicationServer."""
    current = resolve_versions(live_names(resolve_versions(files)))
    return {"hash": [name for name in asked if is_held(name, current, before)]}


@settings(max_examples=500)
@given(replicas, st.lists(replicas, max_size=3), forgotten_before)
def test_a_handoff_gives_up_only_what_no_primary_needs(
    handoff: set[str], primaries: list[set[str]], before: str
) -> None:
    asked = handoff_names(resolve_versions(handoff))
    removed = removable({"hash": asked}, [confirmed(files, asked, before) for files in primaries], WHOLE_REPLICAS).get(
        "hash", ()
    )
    assert set(removed) <= handoff
    assert primaries or not removed
    for name in removed:
        for files in primaries:
            assert name in files or needs_not(name, resolve_versions(live_names(resolve_versions(files))), before)
    for files in primaries:
        counted = {
            name
            for name in removed
            if not is_old_trace(name, resolve_versions(live_names(resolve_versions(files))), before)
        }
        assert live_names(resolve_versions(files | counted)) == live_names(resolve_versions(files))
    left = resolve_versions(set(live_names(resolve_versions(handoff))) - set(removed))
    for line in left.lines:
        if line.data is not None:
            assert line.live_names == resolve_versions(handoff).line(line.version).live_names


def needs_not(name: str, current: ObjectVersions, before: str) -> bool:
    """Whether a primary has what is newer, or the file is a trace that is of no use to it."""
    return is_old_trace(name, current, before) or name in resolve_versions({*current.names, name}).obsolete


def is_old_trace(name: str, current: ObjectVersions, before: str) -> bool:
    """Whether it is an old tombstone, and a primary has nothing older, or old metadata, and that has no data."""
    file, together = parse_name(name), current.line_of(name).with_name(name)
    if file is None or file.timestamp >= before:
        return False
    return (isinstance(file, Tombstone) and not together.obsolete) or (
        isinstance(file, MetaFile) and together.data is None
    )


@example({"0000000000.00000.data", "0000000000.00000.ts"}, [set()], "0000000001.00000")
@given(replicas, st.lists(replicas, min_size=1, max_size=3), forgotten_before)
def test_nothing_is_lost_when_a_handoff_is_emptied(handoff: set[str], primaries: list[set[str]], before: str) -> None:
    """After it has pushed, all that it has is confirmed, and what was known before is known without it."""
    union = handoff.union(*primaries)
    for files in primaries:
        files |= set(plan_transfer(resolve_versions(handoff), resolve_versions(files), before).push)
    asked = handoff_names(resolve_versions(handoff))
    removed = removable({"hash": asked}, [confirmed(files, asked, before) for files in primaries], WHOLE_REPLICAS).get(
        "hash", ()
    )
    assert set(removed) == handoff - set(resolve_versions(handoff).obsolete)
    assert resolved(set().union(*primaries), before) == resolved(union, before)
