"""The checks read stored forms by code of their own; it agrees with the program's."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from objstore.object.metadata import ObjectMetadata, encode
from objstore.object.versions import resolve_versions
from tests.simulation.stored_forms import (
    ATTRIBUTE,
    Incarnation,
    current_incarnation,
    read_metadata,
    read_misplaced_entry,
    read_versions,
)

STAMPS = st.sampled_from(
    [f"000000000{second}.0000{tick}{offset}" for second in (1, 2) for tick in (0, 1) for offset in ("", f"_{161:016x}")]
)
NAMES = st.one_of(
    st.builds(lambda stamp, ending: f"{stamp}.{ending}", STAMPS, st.sampled_from(["data", "meta", "ts"])),
    st.tuples(STAMPS, STAMPS).map(sorted).map(lambda pair: f"{pair[1]}+{pair[0]}.meta"),
    st.builds(lambda stamp, end: stamp + end, STAMPS, st.sampled_from(["!.data", "!.ts", "!null.ts"])),
    st.builds(lambda stamp, version, end: f"{stamp}!{version}.{end}", STAMPS, STAMPS, st.sampled_from(["meta", "ts"])),
    st.builds(
        lambda stamp, line, number, end: f"{stamp}{line}#{number}{end}.data",
        STAMPS,
        st.sampled_from(["", "!"]),
        st.sampled_from([0, 2, 10]),
        st.sampled_from(["", "#d"]),
    ),
    st.just("strange.name"),
)


@given(st.sets(NAMES, max_size=8))
def test_versions_are_those_of_the_program(names: set[str]) -> None:
    mine, theirs = read_versions(names), resolve_versions(names)
    assert (mine.data and mine.data.name) == (theirs.data and theirs.data.name)
    assert set(mine.wanted) == names - set(theirs.obsolete)
    assert mine.written_at == theirs.timestamp
    assert mine.current.version == theirs.current.version
    assert [each.version for each in mine.versions] == [line.version for line in theirs.lines]
    for each, line in zip(mine.versions, theirs.lines, strict=True):
        assert (each.lives, each.written_at) == (line.is_live, line.timestamp)
        assert (each.marker and each.marker.name) == (line.marker and line.marker.name)
        if line.data is not None:
            assert each.newest_timestamp == line.newest_timestamp
            assert (each.meta and each.meta.name) == (line.meta and line.meta.name)
            assert (each.type_meta and each.type_meta.name) == (line.type_meta and line.type_meta.name)


@pytest.mark.parametrize("length", [1, 5000])
def test_metadata_is_read_and_damage_seen(tmp_path: Path, length: int) -> None:
    file = tmp_path / "0000000001.00000.data"
    metadata = ObjectMetadata(
        "/a/c/o", "0000000001.00000", 4, "e", "c", "text/plain", {"X-Object-Meta-A": "x" * length}
    )
    stored = encode(metadata, 4)
    file.write_bytes(b"body" + stored.trailer)
    os.setxattr(file, ATTRIBUTE, stored.attribute)
    found = read_metadata(str(file))
    assert found is not None
    assert (found[0].name, found[0].headers, found[1]) == (metadata.name, metadata.headers, b"body")
    os.setxattr(file, ATTRIBUTE, stored.attribute[:-2] + b"~" + stored.attribute[-1:])
    assert read_metadata(str(file)) is None
    os.removexattr(file, ATTRIBUTE)
    assert read_metadata(str(file)) is None


def test_entries_of_misplaced_objects() -> None:
    name = "1:0000000000.00000:1699999999.00000:0:PUT:1700000000.00000:/AUTH_test/photos/a:b/cat.jpg"
    entry = read_misplaced_entry(name, "1700000000.00000_00000000000000a1", "2023-11-14T22:13:20.500000")
    assert (entry.account, entry.container, entry.path) == ("AUTH_test", "photos", "/AUTH_test/photos/a:b/cat.jpg")
    assert (entry.policy_index, entry.timestamp, entry.queued_at) == (1, "1700000000.00000", 1700000000.5)
    assert entry.incarnation == Incarnation("0000000000.00000", "1699999999.00000", 0)


def test_incarnations() -> None:
    first = current_incarnation("0000000002.00000", "0000000000.00000", "0000000002.00000", 1)
    assert first.created_at == "0000000002.00000"
    gone = current_incarnation("0000000002.00000", "0000000003.00000", "0000000003.00000", 1)
    assert gone.created_at > "5" and gone.replaces(first) and not first.replaces(gone)
    earlier = current_incarnation("0000000001.00000", "0000000000.00000", "0000000001.00000", 0)
    assert earlier.replaces(first)
