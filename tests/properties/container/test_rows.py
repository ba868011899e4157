"""Rows merge the same way whatever the order, the grouping and the repetition; totals are exact."""

from __future__ import annotations

import itertools
import sqlite3
from functools import reduce

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from objstore.account.rows import AccountSchema, merge_container_rows
from objstore.container.rows import ContainerSchema
from objstore.db.info import read_totals
from objstore.db.rows import RowTable
from objstore.db.schema import LISTED, Key, Row, TableSchema
from objstore.db.status import new_status
from objstore.db.tables import new_image, stored_rows
from objstore.limits import Limits
from objstore.paths import ResourcePath
from objstore.policies import Policies, Policy
from objstore.rows import ContainerRow, ObjectRow, merge_object_rows
from tests.doubles import ManualClock

OBJECTS = ContainerSchema(Limits())
CONTAINERS = AccountSchema(Limits(), Policies([Policy(0, "gold", default=True), Policy(1, "silver")]))

timestamps = st.integers(1, 6).map(lambda second: f"170000000{second}.00000") | st.sampled_from(
    ["1700000003.00000_0000000000000001", "1700000003.00000_00000000000000ff"]
)
sizes = st.integers(0, 3)


def object_rows(name: st.SearchStrategy[str], policy: st.SearchStrategy[int]) -> st.SearchStrategy[ObjectRow]:
    return st.builds(
        ObjectRow,
        name=name,
        timestamp=timestamps,
        size=sizes,
        content_type=st.sampled_from(["a", "b", "c;swift_bytes=9"]),
        etag=st.sampled_from(["e1", "e2"]),
        deleted=st.booleans(),
        policy_index=policy,
        content_type_timestamp=timestamps | st.just(""),
        meta_timestamp=timestamps | st.just(""),
        marker=st.booleans(),
        upload=st.sampled_from(["", "u1", "u2"]),
    ).map(lambda row: OBJECTS.checked(replace(row, marker=row.marker and not row.deleted)))


def kept_rows(name: st.SearchStrategy[str], policy: st.SearchStrategy[int]) -> st.SearchStrategy[ObjectRow]:
    """Rows of versions that are kept, and of their removals; and delete markers, the plain line's among them."""

    def kept(row: ObjectRow, version: str, marker: bool) -> ObjectRow:
        if version == "":
            return replace(row, deleted=False, marker=marker)
        moment = max(row.timestamp, version) if row.deleted else version
        changed = replace(row, version=version, timestamp=moment, marker=marker and not row.deleted)
        return OBJECTS.checked(changed)

    return st.builds(kept, object_rows(name, policy), timestamps | st.just(""), st.booleans())


def container_rows(name: st.SearchStrategy[str]) -> st.SearchStrategy[ContainerRow]:
    return st.builds(
        ContainerRow,
        name=name,
        put_timestamp=timestamps,
        delete_timestamp=timestamps | st.just("0"),
        object_count=sizes,
        bytes_used=sizes,
        policy_index=st.integers(0, 1),
        stats_timestamp=timestamps | st.just("0"),
    ).map(CONTAINERS.checked)


versions = st.lists(object_rows(st.just("o"), st.just(0)), min_size=1, max_size=4)
container_versions = st.lists(container_rows(st.just("c")), min_size=1, max_size=4)


@given(versions)
def test_object_rows_merge_in_any_order(rows: list[ObjectRow]) -> None:
    expected = reduce(merge_object_rows, rows)
    for order in itertools.permutations(rows):
        assert reduce(merge_object_rows, order) == expected


@given(versions, versions)
def test_object_rows_merge_in_any_grouping(some: list[ObjectRow], more: list[ObjectRow]) -> None:
    grouped = merge_object_rows(reduce(merge_object_rows, some), reduce(merge_object_rows, more))
    assert grouped == reduce(merge_object_rows, some + more)
    assert merge_object_rows(grouped, grouped) == grouped
    for row in some + more:
        assert merge_object_rows(grouped, row) == grouped


@given(versions)
def test_merged_object_rows_are_in_stored_form(rows: list[ObjectRow]) -> None:
    merged = reduce(merge_object_rows, rows)
    assert OBJECTS.checked(merged) == merged
    assert OBJECTS.row(merged.name, merged.deleted, OBJECTS.values(merged)) == merged


@given(container_versions, container_versions)
def test_container_rows_merge_in_any_order_and_grouping(some: list[ContainerRow], more: list[ContainerRow]) -> None:
    expected = reduce(merge_container_rows, some + more)
    for order in itertools.permutations(some):
        grouped = merge_container_rows(reduce(merge_container_rows, more), reduce(merge_container_rows, order))
        assert grouped == expected
    assert merge_container_rows(expected, expected) == expected
    assert CONTAINERS.checked(expected) == expected
    assert CONTAINERS.row(expected.name, CONTAINERS.is_deleted(expected), CONTAINERS.values(expected)) == expected


def database(schema: TableSchema[Row]) -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    image = bytearray(new_image(schema, ResourcePath("a", "c"), new_status("1.0"), [], "id"))
    image[18:20] = b"\x01\x01"  # a database in memory has no log
    connection.deserialize(bytes(image))
    return connection


def listed_of(schema: TableSchema[Row], rows: list[Row]) -> set[Key]:
    """The keys of the rows that are listed: of each name and policy the newest that lives, unless it is a marker."""
    newest: dict[Key, Row] = {}
    for row in sorted((row for row in rows if not schema.is_deleted(row)), key=lambda row: _age(schema, row)):
        newest[schema.key_of(row)[:2]] = row
    return {schema.key_of(row) for row in newest.values() if not getattr(row, "marker", False)}


def _age(schema: TableSchema[Row], row: Row) -> tuple[str | bool, ...]:
    return (row.timestamp, row.marker, row.version) if isinstance(row, ObjectRow) else ()


def check_database(schema: TableSchema[Row], batches: list[list[Row]]) -> None:
    """What is stored is the merge of all rows, and every total is the sum over the live ones."""
    connection = database(schema)
    table = RowTable(schema, ManualClock())
    for batch in batches:
        table.merge(connection, batch)
    expected: dict[Key, Row] = {}
    for row in itertools.chain.from_iterable(batches):
        key = schema.key_of(row)
        expected[key] = schema.merge(expected[key], row) if key in expected else row
    found = [row for deleted in (False, True) for row in stored_rows(connection, schema, deleted)]
    assert {schema.key_of(row): row for row in found} == expected
    assert len(found) == len(expected)
    listed = listed_of(schema, list(expected.values()))
    columns = ", ".join(("name", *schema.key))
    assert set(connection.execute(f"SELECT {columns} FROM row WHERE deleted = {LISTED}").fetchall()) == listed
    totals: dict[int, tuple[int, ...]] = {}
    for row in expected.values():
        if not schema.is_deleted(row):
            zero = (0,) * len(schema.totals)
            before = totals.get(schema.policy_of(row), zero)
            totals[schema.policy_of(row)] = tuple(
                map(sum, zip(before, schema.amounts(row, schema.key_of(row) in listed), strict=True))
            )
    stored = {policy: figures for policy, figures in read_totals(connection).items() if any(figures)}
    assert stored == totals
    sequences = [number for (number,) in connection.execute("SELECT sequence FROM row ORDER BY sequence")]
    assert len(set(sequences)) == len(sequences) == len(expected)
    assert connection.execute("SELECT sequence FROM resource").fetchone()[0] >= max(sequences, default=0)


names = st.sampled_from(["o", "p", "é", "\0r"])
any_rows = object_rows(names, st.integers(0, 1)) | kept_rows(names, st.integers(0, 1))


@given(st.lists(st.lists(any_rows, max_size=6), max_size=5))
def test_a_container_holds_the_merge_of_all_its_rows(batches: list[list[ObjectRow]]) -> None:
    check_database(OBJECTS, batches)


@given(st.lists(st.lists(container_rows(names), max_size=6), max_size=5))
def test_an_account_holds_the_merge_of_all_its_rows(batches: list[list[ContainerRow]]) -> None:
    check_database(CONTAINERS, batches)


@given(
    st.lists(
        st.lists(kept_rows(names, st.integers(0, 1)) | object_rows(names, st.integers(0, 1)), max_size=4), max_size=6
    )
)
def test_every_upload_whose_row_gave_way_is_noted(batches: list[list[ObjectRow]]) -> None:
    connection = database(OBJECTS)
    table = RowTable(OBJECTS, ManualClock())
    for batch in batches:
        table.merge(connection, batch)
    rows = list(itertools.chain.from_iterable(batches))
    merged: dict[Key, ObjectRow] = {}
    for row in rows:
        key = OBJECTS.key_of(row)
        merged[key] = merge_object_rows(merged[key], row) if key in merged else row
    lost = {row.upload for row in rows if row.upload != merged[OBJECTS.key_of(row)].upload} - {""}
    noted = {upload for (upload,) in connection.execute("SELECT upload FROM orphan")}
    assert lost <= noted
    assert noted <= {row.upload for row in rows}
