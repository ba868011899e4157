"""The rule over file names, for any names in any order."""

from hypothesis import given
from hypothesis import strategies as st

from objstore.object.file_names import data_name, marker_name, meta_name, parse_name, tombstone_name
from objstore.object.versions import ObjectVersions, live_names, resolve_versions
from objstore.timestamps import Timestamp

# Few moments, so that names of one timestamp meet.
timestamps = st.builds(Timestamp, st.integers(0, 5), st.integers(0, 1)).map(lambda moment: moment.internal)
fragments = st.builds(data_name, timestamps, st.integers(-1, 3), st.booleans())
metas = st.tuples(timestamps, timestamps).map(lambda pair: meta_name(max(pair), min(pair)))
plain_names = st.one_of(fragments, metas, timestamps.map(meta_name), timestamps.map(tombstone_name))
version_names = st.one_of(
    st.tuples(timestamps, timestamps, st.integers(-1, 2), st.booleans()).map(
        lambda each: data_name(max(each[:2]), each[2], each[3], min(each[:2]))
    ),
    st.builds(marker_name, timestamps, st.booleans()),
    st.tuples(timestamps, timestamps, timestamps).map(lambda each: meta_name(max(each[:2]), min(each[:2]), each[2])),
    st.builds(meta_name, timestamps, version=timestamps),
    st.builds(tombstone_name, timestamps, timestamps),
)
known_names = plain_names | version_names
strange_names = st.one_of(
    st.text(st.characters(exclude_characters="/\0"), min_size=1),
    st.sampled_from(["0000000001.00000.data.tmp", "0000000001.00000+0000000002.00000.meta", "1.data"]),
)
name_lists = st.lists(st.one_of(known_names, known_names, strange_names), max_size=12, unique=True)


def named(verdict: ObjectVersions) -> set[str]:
    """Every name the verdict stands on."""
    found = set()
    for line in verdict.lines:
        single = (line.data, line.marker, line.meta, line.type_meta, line.tombstone)
        found |= {file.name for file in (*single, *line.fragments, *line.pending) if file is not None}
    return found


@given(name_lists.flatmap(lambda names: st.tuples(st.just(names), st.permutations(names))))
def test_order_does_not_matter(pair: tuple[list[str], list[str]]) -> None:
    names, shuffled = pair
    assert resolve_versions(names) == resolve_versions(shuffled)


@given(name_lists)
def test_nothing_in_use_is_obsolete_and_nothing_unknown_is_touched(names: list[str]) -> None:
    verdict = resolve_versions(names)
    assert not named(verdict) & set(verdict.obsolete)
    assert named(verdict) | set(verdict.obsolete) | set(verdict.unknown) <= set(names)
    assert set(verdict.unknown) == {name for name in names if parse_name(name) is None}


@given(name_lists, st.data())
def test_unlinking_part_of_what_is_obsolete_changes_nothing(names: list[str], data: st.DataObject) -> None:
    before = resolve_versions(names)
    unlinked = data.draw(st.sets(st.sampled_from(before.obsolete))) if before.obsolete else set()
    after = resolve_versions([name for name in names if name not in unlinked])
    assert named(after) == named(before)
    assert set(after.obsolete) == set(before.obsolete) - unlinked


@given(name_lists, name_lists)
def test_what_is_obsolete_stays_so_whatever_is_added(names: list[str], more: list[str]) -> None:
    assert set(resolve_versions(names).obsolete) <= set(resolve_versions({*names, *more}).obsolete)


@given(name_lists, name_lists)
def test_a_line_never_grows_older(names: list[str], more: list[str]) -> None:
    before, after = resolve_versions(names).plain, resolve_versions({*names, *more}).plain
    assert after.timestamp >= before.timestamp
    # What wins over data of its own timestamp takes newer metadata of these with it.
    deleted = before.data is not None and after.data is None
    assert deleted or after.timestamp > before.timestamp or after.newest_timestamp >= before.newest_timestamp


@given(name_lists, name_lists)
def test_no_version_is_lost_but_to_its_own_removal_mark(names: list[str], more: list[str]) -> None:
    before, after = resolve_versions(names), resolve_versions({*names, *more})
    files = [file for file in map(parse_name, {*names, *more}) if file is not None]
    for line in before.kept:
        now = after.line(line.version)
        removed = any(file.name == tombstone_name(file.timestamp, line.version) for file in files)
        assert now.is_live == ((line.is_live or now.is_live) and not removed)
        if removed:
            assert now.tombstone is not None and not now.meta and not now.pending
        elif line.data is not None:
            assert now.data is not None or now.marker is not None


@given(name_lists, st.data())
def test_files_may_arrive_in_any_order_and_obsolete_ones_go_at_any_point(names: list[str], data: st.DataObject) -> None:
    """So it is when a process is killed at any instruction: what is obsolete goes later, or never."""
    held: set[str] = set()
    for name in data.draw(st.permutations(names)):
        held.add(name)
        if (obsolete := resolve_versions(held).obsolete) and data.draw(st.booleans()):
            held -= data.draw(st.sets(st.sampled_from(obsolete)))
    assert named(resolve_versions(held)) == named(resolve_versions(names))
    assert live_names(resolve_versions(held)) == live_names(resolve_versions(names))
    assert resolve_versions(held).current.names != () or not resolve_versions(names).current.names


@given(name_lists)
def test_the_current_version_is_the_newest_that_lives(names: list[str]) -> None:
    verdict = resolve_versions(names)
    alive = [line for line in verdict.lines if line.is_live]
    assert verdict.current.is_live == bool(alive)
    assert verdict.timestamp == max(line.timestamp for line in alive or verdict.lines)


@given(name_lists, known_names)
def test_what_a_name_makes_obsolete_is_found_by_its_line_alone(names: list[str], name: str) -> None:
    assert resolve_versions(names).obsolete_with(name) == set(resolve_versions({*names, name}).obsolete)


@given(name_lists, name_lists)
def test_replicas_that_exchange_what_they_keep_agree(left: list[str], right: list[str]) -> None:
    kept = [name for names in (left, right) for name in names if name not in resolve_versions(names).obsolete]
    assert named(resolve_versions(set(kept))) == named(resolve_versions({*left, *right}))


@given(st.lists(plain_names | strange_names, max_size=12, unique=True))
def test_the_newest_durable_data_or_tombstone_wins(names: list[str]) -> None:
    verdict = resolve_versions(names).current
    files = [file for file in map(parse_name, names) if file is not None]
    writes = [
        (file.timestamp, name.endswith(".ts"))
        for file, name in ((file, file.name) for file in files)
        if name.endswith(".ts") or getattr(file, "durable", False)
    ]
    assert not (verdict.data and verdict.tombstone)
    if writes:
        timestamp, deleted = max(writes)
        assert verdict.timestamp == timestamp
        assert (verdict.tombstone is not None) == deleted
    else:
        assert verdict.data is verdict.tombstone is None


@given(known_names)
def test_a_name_says_what_it_was_made_of(name: str) -> None:
    file = parse_name(name)
    assert file is not None and file.name == name
