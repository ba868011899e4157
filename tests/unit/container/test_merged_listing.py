"""A merged listing is that of a database with all rows, however these are spread over the replicas."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import closing
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from objstore.container import merged_listing
from objstore.container.merged_listing import MergedListing
from objstore.container.row_pages import RowPages
from objstore.container.rows import ContainerSchema
from objstore.container.versions import VersionListing
from objstore.db.listing import Format, Listing, Query
from objstore.db.rows import RowTable
from objstore.db.status import new_status
from objstore.db.tables import new_image
from objstore.limits import Limits
from objstore.paths import ResourcePath
from objstore.rows import ObjectRow
from tests.doubles import ManualClock
from tests.unit.objstore.db.harness import at, row

SCHEMA = ContainerSchema(Limits())
TABLE: RowTable[ObjectRow] = RowTable(SCHEMA, ManualClock())
PAGES = RowPages(SCHEMA)
IMAGE = new_image(SCHEMA, ResourcePath("a", "c"), new_status("1.0"), [], "id")
NAMES = ["a", "a/", "a/b", "a/b/c", "a/c", "a/d", "b", "b/x", "b/y", "c/1", "é/1", "é/2"]
MARKERS = ["", "a", "a/", "a/b", "a/c0", "b/", "b/x", "c", "é/"]


def database(rows: Iterable[ObjectRow]) -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.deserialize(b"".join((IMAGE[:18], b"\x01\x01", IMAGE[20:])))
    connection.execute("BEGIN")
    TABLE.merge(connection, list(rows))
    connection.execute("COMMIT")
    return connection


def merged(replicas: Sequence[sqlite3.Connection], query: Query, versions: bool, version_marker: str) -> bytes:
    """As a proxy lists, and what each round gives it to go on."""
    listing = MergedListing(query, versions, version_marker)
    asked: set[str] = set()
    while not listing.complete:
        wanted = listing.wanted()
        assert str(wanted) not in asked
        asked.add(str(wanted))
        overlap = listing.compare([PAGES.read(each, query, wanted, 0) for each in replicas])
        listing.add(overlap, [one for each in replicas for one in PAGES.of_names(each, overlap.contested, 0)])
    return listing.render("c", 0, SCHEMA)


def listed(connection: sqlite3.Connection, query: Query, versions: bool, version_marker: str) -> bytes:
    if not versions:
        return Listing(SCHEMA).read(connection, query, 0)
    return VersionListing(SCHEMA).read(connection, query, version_marker, 0) if query.limit else b"[]"


@st.composite
def writes(draw: st.DrawFn) -> tuple[ObjectRow, frozenset[int]]:
    """A row, and which of the replicas have it."""
    name, second = draw(st.sampled_from(NAMES)), draw(st.integers(1, 4))
    fields: dict[str, Any] = {"etag": draw(st.sampled_from(["x", "y"]))}
    kind = draw(st.sampled_from(["put", "put", "delete", "delete", "keep", "marker", "null", "remove"]))
    if kind in ("keep", "marker"):
        fields |= {"version": at(second), "marker": kind == "marker"}
    elif kind == "null":
        fields |= {"marker": True}
    elif kind == "delete":
        fields |= {"deleted": True}
    elif kind == "remove":
        fields |= {"version": at(second), "deleted": True}
        second = 9
    return row(name, second, **fields), draw(st.frozensets(st.integers(0, 2), min_size=1))


QUERIES = st.builds(
    Query,
    limit=st.sampled_from([0, 1, 2, 3, 100]),
    prefix=st.sampled_from(["", "", "a", "a/", "b/"]),
    marker=st.sampled_from(MARKERS),
    end_marker=st.sampled_from(["", *MARKERS]),
    delimiter=st.sampled_from(["", "/", "/", "b"]),
    reverse=st.booleans(),
    format=st.sampled_from([Format.PLAIN, Format.JSON]),
)
FLAT = st.builds(
    Query,
    limit=st.sampled_from([1, 2, 100]),
    prefix=st.sampled_from(["", "a/", "b/"]),
    marker=st.sampled_from(MARKERS),
    delimiter=st.just("/"),
    reverse=st.booleans(),
    flat=st.just(True),
    format=st.just(Format.JSON),
)


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(writes(), max_size=40),
    st.one_of(QUERIES, FLAT),
    st.booleans(),
    st.sampled_from(["", "null", at(1), at(3)]),
    st.integers(1, 4),
    st.integers(1, 3),
)
@example([(row("a/b"), frozenset({0})), (row("a/b", 2, deleted=True), frozenset({1}))], Query(1), False, "", 1, 1)
def test_it_is_the_listing_of_all_rows(
    spread: list[tuple[ObjectRow, frozenset[int]]],
    query: Query,
    versions: bool,
    version_marker: str,
    rows_max: int,
    group_rows: int,
) -> None:
    parts = [[one for one, holders in spread if number in holders] for number in range(3)]
    with (
        closing(database([one for one, _ in spread])) as whole,
        closing(database(parts[0])) as first,
        closing(database(parts[1])) as second,
        closing(database(parts[2])) as third,
        patch.multiple(merged_listing, ROWS_MAX=rows_max, SLACK_ROWS=0, GROUP_ROWS=group_rows),
    ):
        wanted = listed(whole, query, versions, version_marker)
        replicas = [first, second, third]
        assert merged(replicas, query, versions, version_marker) == wanted
        digests = {each.execute("SELECT live_digest FROM resource").fetchone() for each in replicas}
        if len(digests) == 1:
            assert listed(first, query, versions, version_marker) == wanted
        pages = {listed(each, query, versions, version_marker) for each in replicas}
        if len(pages) == 1 and not query.delimiter:
            assert pages == {wanted}


def test_a_stale_replica_with_a_deleted_folder_costs_few_rounds() -> None:
    names = [f"{folder}/{number:04d}" for folder in range(3) for number in range(2500)]
    stale = database(row(name) for name in names)
    fresh = database([row(name, 2, deleted=True) for name in names] + [row("z/1", 2)])
    listing, rounds = MergedListing(Query(1000, delimiter="/")), 0
    while not listing.complete:
        rounds += 1
        pages = [PAGES.read(each, Query(1000, delimiter="/"), listing.wanted(), 0) for each in (stale, fresh)]
        overlap = listing.compare(pages)
        listing.add(overlap, PAGES.of_names(fresh, overlap.contested, 0))
    assert listing.render("c", 0, SCHEMA) == b"z/\n"
    assert rounds <= 12


def test_documents_in_xml() -> None:
    with closing(database([row("a&b", etag="e")])) as one, closing(database([])) as other:
        text = merged([one, other], Query(10, format=Format.XML), False, "").decode()
    assert text.startswith('<?xml version="1.0" encoding="UTF-8"?>\n<container name="c"><object><name>a&amp;b</name>')


@pytest.mark.parametrize("reverse", [False, True])
def test_only_names_that_differ_are_asked_for(reverse: bool) -> None:
    same = [row(f"{number:02d}") for number in range(20)]
    with closing(database([*same, row("x")])) as one, closing(database([*same, row("y")])) as other:
        listing = MergedListing(Query(100, reverse=reverse))
        overlap = listing.compare(
            [PAGES.read(each, Query(100, reverse=reverse), listing.wanted(), 0) for each in (one, other)]
        )
    assert sorted(overlap.contested) == ["x", "y"]
