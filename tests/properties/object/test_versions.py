"""The rule over file names, for any names in any order."""

from hypothesis import given
from hypothesis import strategies as st

from objstore.object.versions import ObjectVersions, data_name, meta_name, parse_name, resolve_versions, tombstone_name
from objstore.timestamps import Timestamp

# Few moments, so that names of one timestamp meet.
timestamps = st.builds(Timestamp, st.integers(0, 5), st.integers(0, 1)).map(lambda moment: moment.internal)
fragments = st.builds(data_name, timestamps, st.integers(-1, 3), st.booleans())
metas = st.tuples(timestamps, timestamps).map(lambda pair: meta_name(max(pair), min(pair)))
known_names = st.one_of(fragments, metas, timestamps.map(meta_name), timestamps.map(tombstone_name))
strange_names = st.one_of(
    st.text(st.characters(exclude_characters="/\0"), min_size=1),
    st.sampled_from(["0000000001.00000.data.tmp", "0000000001.00000+0000000002.00000.meta", "1.data"]),
)
name_lists = st.lists(st.one_of(known_names, known_names, strange_names), max_size=12, unique=True)


def named(verdict: ObjectVersions) -> set[str]:
    """Every name the verdict stands on."""
    single = (verdict.data, verdict.meta, verdict.type_meta, verdict.tombstone)
    files = [*(file for file in single if file is not None), *verdict.fragments, *verdict.pending]
    return {file.name for file in files}


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
def test_an_object_never_grows_older(names: list[str], more: list[str]) -> None:
    before, after = resolve_versions(names), resolve_versions({*names, *more})
    assert after.timestamp >= before.timestamp
    # A tombstone wins over data of its own timestamp, and takes newer metadata of these with it.
    deleted = before.tombstone is None and after.tombstone is not None
    assert deleted or after.timestamp > before.timestamp or after.newest_timestamp >= before.newest_timestamp


@given(name_lists, name_lists)
def test_replicas_that_exchange_what_they_keep_agree(left: list[str], right: list[str]) -> None:
    kept = [name for names in (left, right) for name in names if name not in resolve_versions(names).obsolete]
    assert named(resolve_versions(set(kept))) == named(resolve_versions({*left, *right}))


@given(name_lists)
def test_the_newest_durable_data_or_tombstone_wins(names: list[str]) -> None:
    verdict = resolve_versions(names)
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
