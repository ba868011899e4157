"""Listings of versions: what they cost, and what clients see while others write."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

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
from tests.unit.objstore.db.harness import CONTAINER, Servers, at, row

SCHEMA = ContainerSchema(Limits())
TABLE: RowTable[ObjectRow] = RowTable(SCHEMA, ManualClock())
VERSIONS = VersionListing(SCHEMA)


def kept(name: str, second: float, **fields: Any) -> ObjectRow:
    return row(name, second, version=at(second), **fields)


def removal(name: str, second: float, now: float = 1000) -> ObjectRow:
    return row(name, now, version=at(second), deleted=True)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    found = tmp_path / "container.db"
    found.write_bytes(new_image(SCHEMA, ResourcePath("a", "c"), new_status("1.0"), [], "id"))
    return found


def connected(file: Path) -> sqlite3.Connection:
    return sqlite3.connect(file, isolation_level=None)


def merge(connection: sqlite3.Connection, rows: Iterable[ObjectRow]) -> None:
    connection.execute("BEGIN IMMEDIATE")
    TABLE.merge(connection, list(rows))
    connection.execute("COMMIT")


def page(connection: sqlite3.Connection, version_marker: str = "", limit: int = 100, **fields: Any) -> list[Any]:
    """What is listed: rolled up names, and versions with the second of each, "null" for the plain line."""
    query = Query(limit, format=Format.JSON, **fields)
    entries = msgspec.json.decode(VERSIONS.read(connection, query, version_marker, 0))
    return [each.get("subdir") or (each["name"], _second(each["version_id"]), each["is_latest"]) for each in entries]


def _second(version: str) -> int | str:
    return version if version == "null" else round(float(version)) - round(float(at(0)))


def steps(connection: sqlite3.Connection, query: Query, versions: bool) -> int:
    """How many instructions of SQLite's machine a page takes, to the nearest ten."""
    taken = 0

    def count() -> int:
        nonlocal taken
        taken += 10
        return 0

    connection.set_progress_handler(count, 10)
    if versions:
        VERSIONS.read(connection, query, "", 0)
    else:
        Listing(SCHEMA).read(connection, query, 0)
    connection.set_progress_handler(None, 0)
    return taken


@pytest.mark.parametrize("change", [kept("o", 3), removal("o", 2)], ids=["overwritten", "removed"])
def test_a_page_is_of_one_moment(file: Path, change: ObjectRow) -> None:
    writer, reader = connected(file), connected(file)
    merge(writer, [kept("o", 1), kept("o", 2)])
    selects = 0

    def write_between(statement: str) -> None:
        nonlocal selects
        selects += statement.startswith("SELECT")
        if selects == 2:
            selects += 1
            merge(writer, [change])

    reader.set_trace_callback(write_between)
    assert page(reader) == [("o", 2, True), ("o", 1, False)]
    assert selects == 3


def test_who_deletes_what_each_page_lists_gets_all(file: Path) -> None:
    connection = connected(file)
    merge(connection, [kept("o", second) for second in range(7)])
    seen: list[int] = []
    version = ""
    while entries := page(connection, version, limit=2, marker="o" if version else ""):
        seen += [second for _, second, _ in entries]
        merge(connection, [removal("o", second) for _, second, _ in entries])
        version = at(entries[-1][1])
    assert seen == [6, 5, 4, 3, 2, 1, 0]


def test_behind_a_plain_line_that_is_gone_nothing_is_left_out(file: Path) -> None:
    connection = connected(file)
    merge(connection, [kept("o", 1), row("o", 2), kept("o", 3)])
    assert page(connection, "null", marker="o") == [("o", 1, False)]
    merge(connection, [row("o", 4, deleted=True)])
    assert page(connection, "null", marker="o") == [("o", 3, True), ("o", 1, False)]


@pytest.mark.parametrize("fields", [{}, {"delimiter": "/"}, {"delimiter": "/", "prefix": "b/"}, {"prefix": "b"}])
def test_in_reverse_names_and_versions_come_the_other_way_round(file: Path, fields: dict[str, str]) -> None:
    connection = connected(file)
    merge(connection, [row("b/2", 4)])
    merge(connection, [kept(name, second) for name in ("a", "b/1", "b/2", "b/3/x", "c") for second in (1, 3, 5)])
    forward, entries = page(connection, **fields), []
    assert len(forward) > 3
    name, version = "", ""
    while found := page(connection, version, limit=1, marker=name, reverse=True, **fields):
        entries += found
        last = found[-1]
        name, version = (
            (last, "") if isinstance(last, str) else (last[0], last[1] if last[1] == "null" else at(last[1]))
        )
    assert entries == forward[::-1]


def test_in_reverse_one_level_of_a_folder_ends_with_the_folder_itself(file: Path) -> None:
    connection = connected(file)
    merge(connection, [kept(name, second) for name in ("f/a/", "f/a/1", "f/b") for second in (1, 2)])
    query = {"prefix": "f/", "delimiter": "/", "flat": True}
    forward = page(connection, **query)
    assert [name for name, *_ in forward] == ["f/a/", "f/a/", "f/b", "f/b"]
    assert page(connection, reverse=True, **query) == forward[::-1]
    assert page(connection, at(2), reverse=True, marker="f/a/", **query) == []
    assert page(connection, at(1), reverse=True, marker="f/a/", **query) == [("f/a/", 2, True)]


def test_in_reverse_a_version_that_is_gone_leaves_its_place(file: Path) -> None:
    connection = connected(file)
    merge(connection, [kept("o", 1), kept("o", 5), row("n", 1)])
    assert page(connection, at(3), marker="o", reverse=True) == [("o", 5, True), ("n", "null", True)]
    assert page(connection, "null", marker="o", reverse=True) == [("o", 1, False), ("o", 5, True), ("n", "null", True)]


def restored(name: str, version: float, second: float) -> ObjectRow:
    return replace(kept(name, version), timestamp=at(second))


def test_what_was_restored_is_latest_in_its_old_place(file: Path) -> None:
    connection = connected(file)
    merge(connection, [kept("o", second) for second in (1, 2, 3)])
    merge(connection, [restored("o", 1, 5)])
    merge(connection, [restored("o", 2, 4)])
    assert page(connection) == [("o", 3, False), ("o", 2, False), ("o", 1, True)]
    assert page(connection, at(2), marker="o") == [("o", 1, True)]
    merge(connection, [removal("o", 1, 2)])  # by a clock behind: it is removed all the same
    assert page(connection) == [("o", 3, False), ("o", 2, True)]
    merge(connection, [restored("o", 1, 9)])
    assert page(connection) == [("o", 3, False), ("o", 2, True)]
    merge(connection, [kept("o", 6, marker=True)])
    merge(connection, [removal("o", 6)])
    assert page(connection) == [("o", 3, False), ("o", 2, True)]


def test_a_delete_marker_hides_the_object_and_is_listed(servers: Servers) -> None:
    servers.to_container("PUT")
    servers.update([kept("o", 1), kept("o", 2, marker=True, size=0), kept("p", 1), row("q", 1, marker=True, size=0)])
    assert [each["name"] for each in servers.listed()] == ["p"]
    listed = servers.listed("versions=true")
    found = [(each["name"], each["version_id"], each["is_latest"], each["marker"]) for each in listed]
    assert found == [
        ("o", at(2), True, True),
        ("o", at(1), False, False),
        ("p", at(1), True, False),
        ("q", "null", True, True),
    ]
    head = servers.to_container("HEAD").headers
    assert (head["X-Container-Object-Count"], head["X-Backend-Version-Count"]) == ("1", "3")
    assert head["X-Container-Bytes-Used"] == "2"


def test_a_container_with_versions_is_not_deleted(servers: Servers) -> None:
    servers.to_container("PUT")
    servers.update([kept("o", 1, marker=True)])
    assert servers.to_container("DELETE", 2000).status == 409
    servers.update([removal("o", 1)])
    assert servers.to_container("DELETE", 2000, CONTAINER).status == 204


def test_a_page_is_a_range_of_the_key(file: Path) -> None:
    connection = connected(file)
    statements: list[str] = []
    connection.set_trace_callback(statements.append)
    page(connection, prefix="p", marker="o", end_marker="q")
    selects = [each for each in statements if each.startswith("SELECT")]
    connection.set_trace_callback(None)
    assert len(selects) == 2
    for select in selects:
        plan = [detail for *_, detail in connection.execute(f"EXPLAIN QUERY PLAN {select}")]
        assert plan == ["SEARCH row USING PRIMARY KEY (deleted=? AND name>? AND name<?)"]


def test_a_page_costs_what_it_covers(file: Path) -> None:
    connection = connected(file)
    for folder in range(20):
        merge(connection, [kept(f"{folder:02d}/{number}", second) for number in range(20) for second in range(5)])
    few, rolled_up = Query(5, format=Format.JSON), Query(20, delimiter="/", format=Format.JSON)
    assert len(page(connection, limit=20, delimiter="/")) == 20
    assert steps(connection, few, versions=True) < 1_000
    assert steps(connection, rolled_up, versions=True) < 20 * 150  # a seek or two for each, not what is under it


@pytest.mark.parametrize("delimiter", ["", "/"])
def test_current_objects_cost_the_same_beside_versions(tmp_path: Path, file: Path, delimiter: str) -> None:
    other = tmp_path / "other.db"
    other.write_bytes(file.read_bytes())
    plain, versioned = connected(file), connected(other)
    names = [f"{number // 10}/{number}" for number in range(50)]
    merge(plain, [row(name, 99) for name in names])
    for name in names:
        merge(versioned, [kept(name, second) for second in range(100)])
    query = Query(1000, delimiter=delimiter, format=Format.JSON)
    without, beside = (steps(connection, query, versions=False) for connection in (plain, versioned))
    assert abs(beside - without) <= 0.01 * without + 10
