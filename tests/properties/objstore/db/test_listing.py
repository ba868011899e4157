"""A listing is what a plain loop over the sorted names gives, whatever the parameters."""

from __future__ import annotations

import sqlite3

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from objstore.container.rows import ContainerSchema
from objstore.db.listing import Format, Listing, Query
from objstore.db.rows import RowTable
from objstore.db.status import new_status
from objstore.db.tables import new_image
from objstore.limits import Limits
from objstore.paths import ResourcePath
from objstore.rows import ObjectRow
from tests.doubles import ManualClock

DESCRIPTION = ContainerSchema(Limits())
LISTING: Listing[ObjectRow] = Listing(DESCRIPTION)

texts = st.text(alphabet="ab/-\0é\U0010ffff", max_size=5)
names = texts.filter(bool)
queries = st.builds(
    Query,
    limit=st.integers(0, 6),
    prefix=texts,
    marker=texts,
    end_marker=texts,
    delimiter=st.sampled_from(["", "/", "--", "a", "/a", "\0", "é", "\U0010ffff"]),
    reverse=st.booleans(),
    reserved=st.booleans(),
    format=st.sampled_from([Format.PLAIN, Format.JSON]),
)


def make_database(names: set[str], deleted: set[str], misplaced: set[str]) -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    image = bytearray(new_image(DESCRIPTION, ResourcePath("a", "c"), new_status("1.0"), [], "id"))
    image[18:20] = b"\x01\x01"
    connection.deserialize(bytes(image))
    at = "1700000000.00000"
    rows = [ObjectRow(name, at, 1, "t", "e") for name in names]
    rows += [ObjectRow(name, at, 0, "", "", deleted=True) for name in deleted - names]
    rows += [ObjectRow(name, at, 0, "", "", policy_index=1) for name in misplaced]
    RowTable(DESCRIPTION, ManualClock()).merge(connection, rows)
    return connection


def expected_names(names: set[str], query: Query) -> list[str]:
    """The names that the query meets, in its order."""
    low, high = (query.end_marker, query.marker) if query.reverse else (query.marker, query.end_marker)
    met = [
        name
        for name in names
        if name.startswith(query.prefix)
        and (query.reserved or name[0] != "\0")
        and (not low or name > low)
        and (not high or name < high)
        and not (query.flat and name == query.prefix)
    ]
    return sorted(met, key=lambda name: name.encode(), reverse=query.reverse)


def expected_entries(names: set[str], query: Query) -> list[tuple[str, bool]]:
    """Names and whether they are rolled up."""
    entries: list[tuple[str, bool]] = []
    for name in expected_names(names, query):
        cut = name.find(query.delimiter, len(query.prefix)) if query.delimiter else -1
        entry = (name, False) if cut < 0 else (name[: cut + len(query.delimiter)], True)
        if query.flat and entry[1]:
            if entry[0] == name:
                entries.append((name, False))
        elif entry not in entries and not (entry[1] and not query.reverse and entry[0] == query.marker):
            entries.append(entry)
    return entries[: query.limit]


def check(names: set[str], connection: sqlite3.Connection, query: Query) -> None:
    page = LISTING.read(connection, query, 0)
    expected = expected_entries(names, query)
    if query.format is Format.PLAIN:
        assert page == "".join(f"{name}\n" for name, _ in expected).encode()
        return
    found = [(row["subdir"], True) if "subdir" in row else (row["name"], False) for row in msgspec.json.decode(page)]
    assert found == expected


@given(st.sets(names, max_size=12), st.sets(names, max_size=4), st.sets(names, max_size=4), queries)
def test_listings(listed: set[str], deleted: set[str], misplaced: set[str], query: Query) -> None:
    check(listed, make_database(listed, deleted, misplaced), query)


@given(st.sets(names, max_size=12), queries, st.sampled_from(["", "a/", "/", "a/b/"]))
def test_one_level_of_a_directory(listed: set[str], query: Query, prefix: str) -> None:
    level = msgspec.structs.replace(query, prefix=prefix, delimiter="/", flat=True)
    check(listed, make_database(listed, set(), set()), level)


@given(
    st.sets(names, max_size=12),
    st.sampled_from(["", "/", "--"]),
    texts,
    st.booleans(),
    st.integers(1, 3),
    st.booleans(),
)
def test_pages_follow_each_other(
    listed: set[str], delimiter: str, prefix: str, reverse: bool, limit: int, reserved: bool
) -> None:
    connection = make_database(listed, set(), set())
    whole = Query(1000, prefix, delimiter=delimiter, reverse=reverse, reserved=reserved, format=Format.JSON)
    expected = [row.get("subdir") or row["name"] for row in msgspec.json.decode(LISTING.read(connection, whole, 0))]
    found: list[str] = []
    marker = ""
    while True:
        query = msgspec.structs.replace(whole, limit=limit, marker=marker)
        page = [row.get("subdir") or row["name"] for row in msgspec.json.decode(LISTING.read(connection, query, 0))]
        if not page:
            break
        found += page
        marker = page[-1]
        assert len(found) <= len(expected)
    assert found == expected
