"""Entries of the queue: of which life they are, when they come back, and when they do not."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import msgspec
import pytest
import xxhash

from objstore.container import consistency as container_replicator
from objstore.container.queue import ACCOUNT, Misplaced, misplaced, moved_at, parse_entry, removed_at
from objstore.db.info import write_status
from objstore.db.status import NEVER, Incarnation, after_delete, after_put, new_status
from objstore.headers import Backend
from objstore.http.transport import BackendRequest, NodeFailure
from objstore.limits import Limits
from objstore.paths import ResourcePath
from objstore.rows import ObjectRow, merge_object_rows
from objstore.timestamps import Timestamp
from tests.unit.container.reconciling import (
    CONTENT,
    ENTRY,
    FIRST_LIFE,
    LATER_LIFE,
    OBJECT,
    QUEUE,
    QUEUED_AT,
    converge,
    entry_of,
    get_object,
    put_object,
    reconcile,
)
from tests.unit.objstore.db.harness import at, row
from tests.unit.objstore.db.replicas import PATH, Replicas


def test_no_more_rows_are_queued_in_a_pass_than_memory_has_room_for(
    replicas: Replicas, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(container_replicator, "QUEUED_ROWS_MAX", 2)
    replicas[1].update(*(row(f"o{number}", 3, deleted=True, policy_index=1) for number in range(5)))
    for count in (2, 4, 5, 5):
        replicas.replicate(1)
        assert len(replicas[1].names(QUEUE)) == count


def test_an_entry_of_a_life_that_is_outranked_is_taken_out_if_it_is_in_place(replicas: Replicas) -> None:
    entry = entry_of(OBJECT, LATER_LIFE, 0)
    for number in (1, 2, 3):
        replicas[number].update(entry.row, path=QUEUE)
    replicas.replicate()
    assert reconcile(replicas) == {"in_place": 1}
    assert replicas[1].names(QUEUE) == []


def test_an_entry_of_a_life_of_which_too_few_have_heard_stays(replicas: Replicas) -> None:
    entry = entry_of(OBJECT, Incarnation(at(1.5), at(2), 1), 0)
    for number in (1, 2, 3):
        replicas[number].update(entry.row, path=QUEUE)
    replicas.replicate()
    assert reconcile(replicas) == {"waiting": 1}
    assert replicas[1].names(QUEUE) == [entry.name]


def test_a_life_that_is_lost_with_its_only_replica_takes_no_entry_along(tmp_path: Path) -> None:
    made = Replicas(tmp_path)
    for number, second, policy in ((1, 2, 0), (2, 2, 0), (3, 1, 1)):
        made[number].request("PUT", 1, path=ResourcePath(ACCOUNT))
        made[number].put(second, policy)
    put_object(made, 3, 1)
    made[1].update(*made[3].rows())

    def cut(request: BackendRequest) -> None:
        if request.method == "REPLICATE":
            raise NodeFailure(request.node, "connect")

    made.before = cut
    made.replicate(1)
    assert made[1].names(QUEUE) == [f"1:{NEVER}:{at(2)}:0:PUT:{at(3)}:{OBJECT}"]
    assert reconcile(made) == {"waiting": 1}
    made.before = None
    shutil.rmtree(made[3].device / "containers")
    made[3].start()
    converge(made)
    assert reconcile(made) == {"moved": 1}


def test_what_was_in_its_place_in_one_life_is_moved_in_the_next(replicas: Replicas) -> None:
    """Node 3 queues the object while it cannot hear of the older life, with which a late deletion makes an end."""
    put_object(replicas, 3, 0)

    def cut(request: BackendRequest) -> None:
        of_container = request.method in ("REPLICATE", "HEAD") and request.node.port == 6201
        if of_container and (request.method == "REPLICATE" or request.node.ip == "10.0.0.3"):
            raise NodeFailure(request.node, "connect")

    replicas.before = cut
    replicas.replicate(3)
    assert replicas[1].names(QUEUE) == [f"0:{NEVER}:{at(2)}:1:PUT:{at(3)}:{OBJECT}"]
    assert reconcile(replicas) == {"in_place": 1}
    for number in (1, 2):
        with replicas[number].opened() as database:
            database.write(lambda connection: write_status(connection, after_delete(new_status(at(1)), at(1.5))))
    replicas.before = None
    replicas.replicate()
    assert {replicas[number].request("HEAD").headers[Backend.POLICY_INDEX] for number in (1, 2, 3)} == {"1"}
    assert reconcile(replicas) == {"moved": 1}
    assert get_object(replicas, 1).read_all() == CONTENT
    for number in (1, 2, 3):
        assert replicas[number].names() == [OBJECT.object]
        assert replicas[number].names(QUEUE) == []


def test_in_each_life_all_are_queued_again_but_not_while_the_container_is_gone(replicas: Replicas) -> None:
    entries = [f"1:{NEVER}:{at(1)}:0:DELETE:{at(5)}:{OBJECT}", f"1:{at(6)}:{at(7)}:0:DELETE:{at(5)}:{OBJECT}"]
    for number in (1, 2, 3):
        replicas[number].update(row(OBJECT.object, 5, deleted=True, policy_index=1))
    replicas.replicate()
    for number in (1, 2, 3):
        assert replicas[number].put(5.5) == 202
    replicas.replicate()
    assert replicas[1].names(QUEUE) == entries[:1]
    for number in (1, 2, 3):
        assert replicas[number].request("DELETE", 6).status == 204
    replicas.replicate()
    assert replicas[1].names(QUEUE) == entries[:1]
    for number in (1, 2, 3):
        assert replicas[number].put(7) == 201
    replicas.replicate()
    assert replicas[1].names(QUEUE) == entries


def test_a_life_that_begins_while_rows_are_queued_has_them_queued_again(replicas: Replicas) -> None:
    replicas[3].update(row(OBJECT.object, 5, policy_index=1))

    def begin_another(request: BackendRequest) -> None:
        if request.path == QUEUE and request.method == "UPDATE":
            replicas.before = None
            for number in (1, 2, 3):
                with replicas[number].opened() as database:
                    database.write(lambda connection: write_status(connection, new_status(at(0))))

    replicas.replicate(1)
    replicas.before = begin_another
    replicas.replicate(3)
    assert replicas[1].names(QUEUE) == [ENTRY.replace(at(3), at(5))]
    replicas.replicate(3)
    assert replicas[1].names(QUEUE) == [f"1:{NEVER}:{at(0)}:0:PUT:{at(5)}:{OBJECT}", ENTRY.replace(at(3), at(5))]


def test_an_object_with_the_longest_of_names_is_moved(replicas: Replicas) -> None:
    longest = "n" * Limits().max_object_name_length
    replicas[3].update(row(longest, 3, deleted=True, policy_index=1))
    replicas.replicate()
    replicas.replicate()
    assert reconcile(replicas) == {"deleted": 1}


def test_a_queue_that_has_long_been_empty_is_removed(replicas: Replicas) -> None:
    put_object(replicas, 3, 1)
    converge(replicas)
    assert reconcile(replicas) == {"moved": 1}
    assert replicas[1].request("HEAD", path=QUEUE).status == 204
    replicas.clock.seconds += 8 * 86400
    assert reconcile(replicas) == {}
    assert {replicas[number].request("HEAD", path=QUEUE).status for number in (1, 2, 3)} == {404}
    replicas[3].update(row("late", 4, policy_index=1))
    converge(replicas)
    assert replicas[1].names(QUEUE) == [ENTRY.replace(OBJECT.object, "late").replace(at(3), at(4))]


def test_queueing_again_does_not_bring_back_what_was_dealt_with() -> None:
    entry = entry_of(OBJECT, FIRST_LIFE, 1)
    assert merge_object_rows(entry.removed_row, entry.row).deleted
    newer = msgspec.structs.replace(entry, timestamp=Timestamp.parse(at(4)))
    assert not merge_object_rows(entry.removed_row, newer.row).deleted


def test_entries_are_read_back() -> None:
    ended = after_delete(new_status(at(1)), at(2))
    for life in (FIRST_LIFE, ended.incarnation, after_put(ended, at(3), 7).incarnation):
        for deleted, moment in ((False, at(9)), (True, at(3))):
            listed = row("a:b/c", 3, policy_index=7, meta_timestamp=at(9), deleted=deleted)
            entry = misplaced(PATH, life, listed, QUEUED_AT)
            times = Timestamp.parse(at(3)), Timestamp.parse(moment), QUEUED_AT
            assert entry == Misplaced(PATH.with_object("a:b/c"), life, 7, deleted, *times)
            assert parse_entry(entry.name, entry.row.etag, QUEUED_AT.isoformat) == entry


def test_entries_of_versions_and_markers_are_read_back() -> None:
    for fields in ({"version": at(2)}, {"version": at(3), "marker": True}, {"marker": True}):
        for deleted in (False, True):
            entry = misplaced(PATH, FIRST_LIFE, row("a!:b/c", 3, policy_index=7, deleted=deleted, **fields), QUEUED_AT)
            assert entry is not None
            assert (entry.version, entry.marker) == (fields.get("version", ""), "marker" in fields and not deleted)
            assert parse_entry(entry.name, entry.row.etag, QUEUED_AT.isoformat) == entry


def test_marks_are_not_queued_but_deletions_are() -> None:
    written = Timestamp.parse(at(3))
    moved = moved_at(written)
    for moment, is_mark in (
        (written, False),
        (moved, False),
        (Timestamp(written.ticks, 1), False),  # as the expirer dates them
        (Timestamp(moved.ticks, moved.offset + 1), False),
        (removed_at(written), True),
        (removed_at(moved), True),
        (removed_at(moved_at(moved)), True),
    ):
        listed = ObjectRow("o", moment.internal, 0, "", "", deleted=True, policy_index=7)
        assert (misplaced(PATH, FIRST_LIFE, listed, QUEUED_AT) is None) is is_mark
        assert misplaced(PATH, FIRST_LIFE, msgspec.structs.replace(listed, deleted=False), QUEUED_AT) is not None


@pytest.mark.parametrize(
    "name",
    [
        "",
        "o",
        "1:/a/c/o",
        "1:0:0:0:/a/c/o",
        "x:0:0:0:PUT:0:/a/c/o",
        "1:x:0:0:PUT:0:/a/c/o",
        "1:0:x:0:PUT:0:/a/c/o",
        "1:0:0:x:PUT:0:/a/c/o",
        "1:0:0::PUT:0:/a/c/o",
        "1:0:0:0:POST:0:/a/c/o",
        "1:0:0:0:PUT:/a/c/o",
        "1:0:0:0:PUT:x:/a/c/o",
        "1:0:0:0:PUT:0:/a/c",
        "1:0:0:0:PUT:0:a/c/o",
        "1:0:0:0:PUT:0:/a//o",
    ],
)
def test_strange_entries(name: str) -> None:
    with pytest.raises(ValueError, match=".+"):
        parse_entry(name, at(1), QUEUED_AT.isoformat)


def test_the_removal_of_a_version_in_the_wrong_policy_deletes_nothing_else_in_the_right_one(replicas: Replicas) -> None:
    put_object(replicas, 5, 0)
    removal = row(OBJECT.object, 8, version=at(3), deleted=True, policy_index=1)
    for number in (1, 2, 3):
        replicas[number].update(removal)
    converge(replicas)
    assert reconcile(replicas) == {"deleted": 1}
    assert get_object(replicas, 0).read_all() == CONTENT


def test_the_plain_line_is_moved_from_beside_a_newer_version(replicas: Replicas) -> None:
    put_object(replicas, 3, 1)
    for number in (1, 2, 3):
        answer = replicas[number].request(
            "PUT",
            4,
            b"kept",
            path=OBJECT,
            X_Backend_Storage_Policy_Index="1",
            Content_Type="t/t",
            Etag=hashlib.md5(b"kept").hexdigest(),
            X_Backend_Body_Checksum=xxhash.xxh3_128_hexdigest(b"kept"),
            X_Backend_Version_Mode="keep",
        )
        assert answer.status == 201
        replicas[number].update(row(OBJECT.object, 4, version=at(4), policy_index=1))
    converge(replicas)
    reconcile(replicas)
    moved = get_object(replicas, 0, X_Backend_Version_Id="null")
    assert moved.read_all() == CONTENT
    assert moved.headers[Backend.DATA_TIMESTAMP] == moved_at(Timestamp.parse(at(3))).internal
    assert get_object(replicas, 1).status == 404
    kept = get_object(replicas, 0, X_Backend_Version_Id=at(4))
    assert (kept.read_all(), kept.headers[Backend.DATA_TIMESTAMP]) == (b"kept", at(4))
