"""What could go wrong between two replicas: gaps, crossings, damage, rows that are written meanwhile."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import xxhash

from objstore.container.reports import last_report, report_of, store_report
from objstore.db.info import read_status, read_totals
from objstore.db.merging import BatchReader
from objstore.db.messages import MERGE_RESULT, RowBatch, encode
from objstore.db.summary import POINTS_MAX, advance, read_points
from objstore.devices import Device
from objstore.headers import Backend
from objstore.http.local import LocalTransport
from objstore.http.transport import BackendRequest
from objstore.system import concurrency
from tests.unit.objstore.db.harness import NOW, at, row
from tests.unit.objstore.db.replicas import PATH, ReplicaNode, Replicas, ring_of


@pytest.fixture
def replicas(replicas: Replicas) -> Replicas:
    """With the container on every primary."""
    for number in (1, 2, 3):
        replicas[number].put(1)
    return replicas


def batch(node: ReplicaNode, after: int, limit: int) -> RowBatch[Any]:
    reader = BatchReader(node.container.schema)
    with node.opened() as database:
        return reader.read(database, after, limit)


def send(node: ReplicaNode, sent: RowBatch[Any]) -> bool:
    answer = node.request("REPLICATE", body=encode(sent), query="step=merge")
    assert answer.status == 200
    return MERGE_RESULT.decode(answer.read_all()).held


def totals_of(node: ReplicaNode) -> tuple[int, int]:
    headers = node.request("HEAD").headers
    return int(headers["X-Container-Object-Count"]), int(headers["X-Container-Bytes-Used"])


def check_totals(node: ReplicaNode) -> None:
    rows = [each for each in node.rows() if not each.deleted and each.policy_index == 0]
    assert totals_of(node) == (len(rows), sum(each.size for each in rows))


def test_a_batch_that_arrives_before_the_one_before_it_leaves_no_gap(replicas: Replicas) -> None:
    """Two syncs of one database at once: the later rows overtake the earlier ones."""
    one, two = replicas[1], replicas[2]
    one.update(*[row(f"o{number}") for number in range(6)])
    earlier, later = batch(one, 0, 3), batch(one, 3, 10)
    assert send(two, later) is False
    assert two.names() == ["o3", "o4", "o5"]
    assert one.summary().id not in two.summary().points
    assert send(two, earlier) is True
    assert two.summary().points[one.summary().id] == 3
    replicas.replicate(1)
    assert replicas.agree(1, 2)


def test_two_syncs_of_one_database_at_once(replicas: Replicas) -> None:
    one, two = replicas[1], replicas[2]
    for node in replicas.nodes.values():
        node.config = type(node.config)(per_diff=5)
        node.start()
    one.update(*[row(f"o{number:02}") for number in range(40)])
    two.update(*[row(f"p{number:02}") for number in range(40)])
    tasks = [concurrency.spawn(each.replicate) for each in (one, two, replicas[3])]
    for task in tasks:
        task.wait()
    replicas.replicate()
    assert replicas.agree()
    for number in (1, 2, 3):
        assert totals_of(replicas[number]) == (80, 80)
        check_totals(replicas[number])


def test_rows_merged_while_rows_are_written(replicas: Replicas) -> None:
    """No row is lost, and the totals of what was merged are exact, whatever is written in between."""
    for node in replicas.nodes.values():
        node.config = type(node.config)(per_diff=4)
        node.start()
    one, two = replicas[1], replicas[2]
    one.update(*[row(f"o{number:02}", size=number) for number in range(30)])
    two.update(*[row(f"o{number:02}", 2, size=100) for number in range(0, 30, 3)])
    written = 0

    def write(request: BackendRequest) -> None:
        nonlocal written
        if request.method == "REPLICATE" and written < 20:
            written += 1
            number = written
            one.update(row(f"o{number:02}", 10 + number, deleted=True))
            two.update(row(f"o{number + 1:02}", 9, size=7), row(f"n{number:02}", 3))

    replicas.before = write
    replicas.replicate(1, 2)
    replicas.before = None
    assert written > 10
    replicas.replicate()
    replicas.replicate()
    assert replicas.agree()
    for number in (1, 2, 3):
        check_totals(replicas[number])


@pytest.mark.parametrize("sender", [1, 2])
def test_the_totals_of_a_merged_database_are_those_of_its_rows(replicas: Replicas, sender: int) -> None:
    """Healing that trusts the count of either side, or adds them, is wrong."""
    one, two = replicas[1], replicas[2]
    one.update(row("both", 1, size=5), row("one", 1, size=1), row("gone", 1, size=50), row("dead", 1, deleted=True))
    two.update(
        row("both", 2, size=7), row("two", 1, size=2), row("gone", 2, deleted=True), row("moved", policy_index=1)
    )
    replicas.replicate(sender)
    for node in (one, two):
        assert node.names() == ["both", "one", "two"]
        assert totals_of(node) == (3, 10)


def test_what_is_written_while_the_whole_file_is_sent(replicas: Replicas) -> None:
    one, three = replicas[1], replicas[3]
    one.config = type(one.config)(per_diff=5)
    one.start()
    one.update(*[row(f"o{number:02}") for number in range(40)])
    three.wipe()

    def write(request: BackendRequest) -> None:
        if "step=whole" in request.query:
            one.update(row("late"), row("o03", 9, deleted=True))
            three.put(1)  # and the container was put there meanwhile
            three.update(row("own", 3))

    replicas.before = write
    replicas.replicate(1)
    replicas.before = None
    assert {"own", "o39"} <= set(three.names())
    replicas.replicate(1)
    assert replicas.agree(1, 3)
    assert "late" in three.names() and "o03" not in three.names()
    check_totals(three)


def test_a_snapshot_that_was_damaged_on_the_way_is_refused(replicas: Replicas, monkeypatch: pytest.MonkeyPatch) -> None:
    one, three = replicas[1], replicas[3]
    one.config = type(one.config)(per_diff=1)
    one.start()
    one.update(*[row(f"o{number:02}") for number in range(10)])
    three.wipe()
    start_upload = LocalTransport.start_upload

    def damaging(transport: Any, *arguments: Any) -> Any:
        upload = start_upload(transport, *arguments)
        write = upload.write
        monkeypatch.setattr(type(upload), "write", lambda _, chunk: write(bytes(chunk)[:-1] + b"x"))
        return upload

    monkeypatch.setattr(LocalTransport, "start_upload", damaging)
    replicas.replicate(1)
    assert three.database_files() == []
    assert list((three.device / "tmp").iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"garbage" * 1000])
def test_a_snapshot_must_be_a_database_of_the_resource(replicas: Replicas, content: bytes) -> None:
    node = replicas[1]
    request = BackendRequest("REPLICATE", node_of(1), 0, PATH, {}, "step=whole")
    upload = replicas.transport.start_upload(request, len(content))
    assert upload.expect() is None
    upload.write(content)
    upload.finish({Backend.BODY_CHECKSUM: xxhash.xxh3_128_hexdigest(content)})
    assert upload.response().status == 422
    assert node.names() == []


def node_of(number: int) -> Device:
    return Device(number, 1, 1, f"10.0.0.{number}", 6201, f"10.0.0.{number}", 6201, "sda", 1.0)


def test_a_database_that_was_turned_back_is_noticed(replicas: Replicas) -> None:
    """A copy of yesterday was put in place: sequences would be given out twice."""
    one = replicas[1]
    one.update(row("a"))
    replicas.replicate(1)
    one.container.store._open.clear()
    one.start()
    file = one.database_files()[0]
    with one.opened() as database:
        database.read(lambda connection: connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall())
    old = file.read_bytes()
    one.update(row("b"), row("c"))
    replicas.replicate(1)
    for name in (file, Path(f"{file}-wal"), Path(f"{file}-shm")):
        name.unlink(missing_ok=True)
    file.write_bytes(old)
    one.start()
    one.update(row("new"))
    id_before = one.summary().id
    replicas.replicate(1)
    assert one.summary().id != id_before
    replicas.replicate(1)
    replicas.replicate(2)
    assert replicas.agree(1, 2)
    assert replicas[2].names() == ["a", "b", "c", "new"]


def test_rows_that_reach_a_peer_while_it_is_asked_turn_nothing_back(replicas: Replicas) -> None:
    """The peer fetches rows that were written after this pass looked at the database, and before the peer answers."""
    one, two = replicas[1], replicas[2]
    one.update(row("a"))
    replicas.replicate(1)
    one.update(row("b"))
    id_before, sequence = one.summary().id, one.summary().sequence

    def write_and_fetch(request: BackendRequest) -> None:
        if request.query == "step=compare" and request.node.ip == node_of(2).ip:
            replicas.before = None
            one.update(row("c"))
            assert send(two, batch(one, sequence - 1, 10))

    replicas.before = write_and_fetch
    replicas.replicate(1)
    assert replicas.before is None
    assert two.summary().points[id_before] > sequence
    assert one.summary().id == id_before
    replicas.replicate(1)
    assert replicas.agree(1, 2)


def test_rows_that_differ_though_all_was_merged_are_sent_again(replicas: Replicas) -> None:
    one = replicas[1]
    one.update(row("a"), row("b"))
    replicas.replicate()
    with replicas[2].opened() as database:

        def damage(connection: sqlite3.Connection) -> None:
            connection.execute("DELETE FROM row WHERE name = 'a'")
            connection.execute("DELETE FROM policy_stat")
            connection.execute("UPDATE resource SET live_digest = 5")

        database.write(damage)
    replicas.replicate(1)
    assert replicas[2].names() == ["a", "b"]


def test_an_old_replica_brings_nothing_back_to_one_that_forgot(replicas: Replicas) -> None:
    """A device left the ring with a live row, which was deleted and forgotten since. A new primary must not take it."""
    old, new = replicas[4], replicas[3]
    old.put(1)
    old.update(row("o"))
    for node in replicas.nodes.values():
        node.rings.container = ring_of((1, 2, 4))
    replicas.replicate(4, 1, 2)
    assert replicas[1].names() == ["o"]
    old.up = False
    for number in (1, 2):
        replicas[number].update(row("o", 2, deleted=True))
    for node in replicas.nodes.values():
        node.rings.container = ring_of((1, 2, 3))
    new.wipe()
    replicas.replicate(1, 2, 3)
    replicas.clock.seconds = NOW + 8 * 86400
    replicas.replicate(1, 2, 3)
    assert new.rows() == [] and new.names() == []
    old.up = True
    old.replicate()
    for number in (1, 2, 3):
        assert replicas[number].names() == []


def test_sync_points_are_bounded_and_never_go_back(replicas: Replicas) -> None:
    with replicas[1].opened() as database:

        def fill(connection: sqlite3.Connection) -> dict[str, int]:
            for number in range(POINTS_MAX + 10):
                advance(connection, {f"id{number}": 5}, at(number))
            advance(connection, {"id70": 3, "id71": 7}, at(1000))
            return read_points(connection)

        points = database.write(fill)
    assert len(points) == POINTS_MAX
    assert (points["id70"], points["id71"]) == (5, 7)
    assert "id0" not in points


@pytest.mark.parametrize(
    ("query", "body", "status"),
    [
        ("", b"", 400),
        ("step=nonsense", b"", 400),
        ("step=rows&after=x&limit=1", b"", 400),
        ("step=rows&after=0&limit=100000", b"", 400),
        ("step=merge", b"[]", 400),
        ("step=merge", b"{", 400),
        ("step=compare", b"7", 400),
        ("step=compare", b'[{"partition": 1, "hash": "../../x", "summary": null}]', 400),
    ],
)
def test_bad_requests(replicas: Replicas, query: str, body: bytes, status: int) -> None:
    assert replicas[1].request("REPLICATE", body=body, query=query).status == status


def test_rows_of_what_is_not_there(replicas: Replicas) -> None:
    assert replicas[4].request("REPLICATE", query="step=rows&after=0&limit=10").status == 404


def test_a_copy_does_not_hold_what_its_source_reported(replicas: Replicas) -> None:
    """The account may have older figures from this replica, under a timestamp that is ahead."""
    one, three = replicas[1], replicas[3]
    one.config = type(one.config)(per_diff=5)
    one.start()
    one.update(*[row(f"o{number:02}") for number in range(40)])
    (file,) = one.database_files()
    with closing(sqlite3.connect(file)) as connection:
        told = report_of(read_status(connection), read_totals(connection))
        store_report(connection, told)
        connection.commit()
    three.wipe()
    replicas.replicate(1)
    (file,) = three.database_files()
    with closing(sqlite3.connect(file)) as connection:
        assert report_of(read_status(connection), read_totals(connection)) == told
        assert last_report(connection) != told
