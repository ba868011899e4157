"""The rule over file names, by example."""

import pytest

from objstore.object.file_names import parse_name
from objstore.object.versions import EMPTY, resolve_versions

T1, T2, T3, T4 = (f"000000000{second}.00000" for second in range(1, 5))


@pytest.mark.parametrize(
    ("names", "data", "meta", "tombstone", "obsolete"),
    [
        ([], None, None, None, ()),
        ([f"{T1}.data"], f"{T1}.data", None, None, ()),
        ([f"{T1}.data", f"{T2}.data"], f"{T2}.data", None, None, (f"{T1}.data",)),
        ([f"{T1}.data", f"{T2}.ts"], None, None, f"{T2}.ts", (f"{T1}.data",)),
        ([f"{T2}.data", f"{T2}.ts"], None, None, f"{T2}.ts", (f"{T2}.data",)),
        ([f"{T3}.data", f"{T2}.ts"], f"{T3}.data", None, None, (f"{T2}.ts",)),
        ([f"{T1}.data", f"{T2}.meta"], f"{T1}.data", f"{T2}.meta", None, ()),
        ([f"{T2}.data", f"{T1}.meta"], f"{T2}.data", None, None, (f"{T1}.meta",)),
        ([f"{T1}.data", f"{T2}.meta", f"{T3}.meta"], f"{T1}.data", f"{T3}.meta", None, (f"{T2}.meta",)),
        ([f"{T1}.ts", f"{T2}.meta"], None, None, f"{T1}.ts", ()),
        ([f"{T1}.data", f"{T1}_00000000000000a1.data"], f"{T1}_00000000000000a1.data", None, None, (f"{T1}.data",)),
    ],
)
def test_whole_objects(
    names: list[str], data: str | None, meta: str | None, tombstone: str | None, obsolete: tuple[str, ...]
) -> None:
    found = resolve_versions(names)
    assert (found.data and found.data.name) == data
    assert (found.current.meta and found.current.meta.name) == meta
    assert (found.current.tombstone and found.current.tombstone.name) == tombstone
    assert found.obsolete == obsolete


def test_older_metadata_is_kept_for_its_content_type() -> None:
    found = resolve_versions([f"{T1}.data", f"{T2}+{T2}.meta", f"{T3}.meta"]).current
    assert found.meta is not None and found.meta.name == f"{T3}.meta"
    assert found.type_meta is not None and found.type_meta.name == f"{T2}+{T2}.meta"
    assert resolve_versions([f"{T1}.data", f"{T2}+{T2}.meta", f"{T3}+{T2}.meta"]).obsolete == (f"{T2}+{T2}.meta",)


def test_fragments_wait_until_they_are_durable() -> None:
    old = [f"{T1}#0#d.data", f"{T1}#1.data"]
    found = resolve_versions([*old, f"{T2}#0.data", f"{T2}#1.data"])
    assert [file.name for file in found.plain.fragments] == old
    assert [file.name for file in found.plain.pending] == [f"{T2}#0.data", f"{T2}#1.data"]
    assert found.obsolete == ()
    found = resolve_versions([*old, f"{T2}#0.data", f"{T2}#1#d.data"])
    assert [file.fragment for file in found.plain.fragments] == [0, 1]
    assert found.obsolete == tuple(old)


def test_a_mark_left_half_done_by_a_crash() -> None:
    found = resolve_versions([f"{T1}#3.data", f"{T1}#3#d.data"])
    assert [file.name for file in found.plain.fragments] == [f"{T1}#3#d.data"]
    assert found.obsolete == (f"{T1}#3.data",)


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".data",
        f"{T1}",
        f"{T1}.data.tmp",
        "1.0.data",
        f"{T1}#x.data",
        f"{T1}+{T2}.meta",
        f"{T1}!{T1}.data",
        f"{T1}!x.ts",
        f"{T1}!.meta",
        f"{T1}!null.meta",
    ],
)
def test_strange_names(name: str) -> None:
    assert parse_name(name) is None
    assert resolve_versions([name, f"{T1}.data"]).unknown == (name,)


def test_nothing_is_nothing() -> None:
    assert resolve_versions([]) is EMPTY
    assert EMPTY.timestamp == EMPTY.newest_timestamp == ""


@pytest.mark.parametrize(
    ("names", "current", "obsolete"),
    [
        ([f"{T1}!.data", f"{T2}!.data"], f"{T2}!.data", ()),
        ([f"{T1}!.data", f"{T2}!.ts"], f"{T2}!.ts", ()),
        ([f"{T1}!.data", f"{T2}!.ts", f"{T3}!{T2}.ts"], f"{T1}!.data", (f"{T2}!.ts",)),
        ([f"{T1}!.data", f"{T3}!.data", f"{T2}!{T3}.ts"], f"{T1}!.data", (f"{T3}!.data",)),
        ([f"{T1}!.data", f"{T2}.data", f"{T3}.ts"], f"{T1}!.data", (f"{T2}.data",)),
        ([f"{T1}!.data", f"{T2}.data", f"{T3}!null.ts"], f"{T3}!null.ts", (f"{T2}.data",)),
        ([f"{T1}!null.ts", f"{T2}.data"], f"{T2}.data", (f"{T1}!null.ts",)),
        ([f"{T1}!null.ts", f"{T1}.data"], f"{T1}!null.ts", (f"{T1}.data",)),
        ([f"{T1}!null.ts", f"{T1}.ts"], f"{T1}.ts", (f"{T1}!null.ts",)),
        ([f"{T1}!.data", f"{T1}.data"], f"{T1}!.data", ()),
        ([f"{T1}!.data", f"{T1}!.ts"], f"{T1}!.ts", (f"{T1}!.data",)),
        ([f"{T1}!{T3}.ts", f"{T2}!{T3}.ts", f"{T4}!{T3}.meta"], f"{T2}!{T3}.ts", (f"{T1}!{T3}.ts", f"{T4}!{T3}.meta")),
    ],
)
def test_kept_versions(names: list[str], current: str, obsolete: tuple[str, ...]) -> None:
    found = resolve_versions(names)
    line = found.current
    file = line.data or line.marker or line.tombstone
    assert file is not None and file.name == current
    assert found.obsolete == obsolete
    assert found.line(line.version) is line
    assert found.line("9999999999.00000").names == ()


def test_metadata_of_a_kept_version_is_its_own() -> None:
    found = resolve_versions(
        [f"{T1}!.data", f"{T2}!.data", f"{T3}!{T1}.meta", f"{T4}+{T3}!{T2}.meta", f"{T2}!{T1}.meta"]
    )
    one, other = found.kept
    assert one.meta is not None and (one.meta.name, one.newest_timestamp) == (f"{T3}!{T1}.meta", T3)
    assert other.meta is not None and other.meta.type_timestamp == T3
    assert found.obsolete == (f"{T2}!{T1}.meta",)


def test_an_object_is_full_by_what_lives_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("objstore.object.versions.VERSIONS_MAX", 2)
    assert resolve_versions([f"{T1}!.data", f"{T2}!.ts"]).is_full
    assert resolve_versions([f"{T1}!.data", f"{T2}.data"]).is_full
    assert not resolve_versions([f"{T1}!.data", f"{T2}!.data", f"{T3}!{T2}.ts"]).is_full
