"""Objects in the wrong policy are found, moved, and found no more."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
import xxhash

from objstore.config.container import ReconcilerConfig
from objstore.container import moving
from objstore.container.queue import ACCOUNT, DIVISOR, Misplaced, later, misplaced, parse_entry
from objstore.container.reconciler import TURN_SECONDS, ContainerReconciler
from objstore.container.rows import merge_object_rows
from objstore.daemon import run_once
from objstore.db.info import write_status
from objstore.db.status import NEVER, Life, after_delete, after_put, new_status
from objstore.headers import Backend
from objstore.http.transport import BackendRequest, BackendResponse, NodeFailure
from objstore.limits import Limits
from objstore.paths import ResourcePath
from objstore.rows import ContainerRow, ObjectRow, encode_rows
from objstore.timestamps import Timestamp
from tests.unit.objstore.db.harness import NOW, at, row
from tests.unit.objstore.db.replicas import PATH, Replicas

OBJECT = PATH.with_object("über/o")
CONTENT = bytes(range(256)) * 2000
QUEUE = ResourcePath(ACCOUNT, str(NOW // DIVISOR * DIVISOR))
FIRST_LIFE, LATER_LIFE = Life(NEVER, at(1)), Life(NEVER, at(2))
ENTRY = f"1:{NEVER}:{at(1)}:{OBJECT}"


@pytest.fixture
def replicas(tmp_path: Path) -> Replicas:
    """The container lives in policy 0, on node 3 it was put later under policy 1."""
    made = Replicas(tmp_path)
    for number in (1, 2, 3):
        made[number].request("PUT", 1, path=ResourcePath(ACCOUNT))
    made[1].put(1, 0)
    made[2].put(1, 0)
    made[3].put(2, 1)
    return made


def put_object(replicas: Replicas, second: float, policy: int, content: bytes = CONTENT, **headers: str) -> None:
    """As a proxy that knows the policy of node 3's container would."""
    for number in (1, 2, 3):
        answer = replicas[number].request(
            "PUT",
            second,
            content,
            path=OBJECT,
            X_Backend_Storage_Policy_Index=str(policy),
            Content_Type="text/é".encode().decode("latin-1"),
            Etag=hashlib.md5(content).hexdigest(),
            X_Backend_Body_Checksum=xxhash.xxh3_128_hexdigest(content),
            X_Object_Meta_Color=b"blau".decode("latin-1"),
            X_Object_Sysmeta_Own="kept",
            **headers,
        )
        assert answer.status == 201, answer.read_all()
    listed = ObjectRow(
        OBJECT.object, at(second), len(content), "text/é", hashlib.md5(content).hexdigest(), policy_index=policy
    )
    replicas[3].update(listed)


def get_object(replicas: Replicas, policy: int, number: int = 1, method: str = "GET") -> BackendResponse:
    return replicas[number].request(method, path=OBJECT, X_Backend_Storage_Policy_Index=str(policy))


def tell_account(replicas: Replicas) -> None:
    """As the container updater does."""
    rows = encode_rows([ContainerRow(QUEUE.container, at(3), object_count=1, stats_timestamp=at(4))])
    for number in (1, 2, 3):
        assert replicas[number].request("UPDATE", body=rows, path=ResourcePath(ACCOUNT)).status == 202


def reconcile(replicas: Replicas, **options: Any) -> dict[str, int]:
    """One pass of each node's, with what all of them counted."""
    tell_account(replicas)
    total: dict[str, int] = {}
    for number in (1, 2, 3):
        node = replicas[number]
        run_once(ContainerReconciler(ReconcilerConfig(**options), node.surroundings, 3.0))
        for outcome, count in node.recon.read("container-reconciler")["counts"].items():
            total[outcome] = total.get(outcome, 0) + count
    return total


def test_an_object_of_the_wrong_policy_is_moved_as_it_is(replicas: Replicas) -> None:
    put_object(replicas, 3, 1)
    replicas.replicate()
    assert replicas[3].request("HEAD").headers["X-Backend-Storage-Policy-Index"] == "0"
    assert replicas[1].names() == []
    replicas.replicate()
    assert replicas[1].names(QUEUE) == [ENTRY]
    before = get_object(replicas, 1).headers
    assert reconcile(replicas) == {"moved": 1}
    for number in (1, 2, 3):
        assert get_object(replicas, 1, number).status == 404
        moved = get_object(replicas, 0, number)
        assert moved.read_all() == CONTENT
        for name in ("Etag", "Content-Type", "X-Object-Meta-Color", "X-Object-Sysmeta-Own", "X-Timestamp"):
            assert moved.headers[name] == before[name]
        assert moved.headers[Backend.TIMESTAMP] == later(Timestamp.parse(at(3)), 2).internal
    for number in (1, 2, 3):
        assert replicas[number].names(QUEUE) == []
    assert reconcile(replicas) == {}


def test_the_listing_follows(replicas: Replicas) -> None:
    put_object(replicas, 3, 1)
    replicas.replicate()
    replicas.replicate()
    reconcile(replicas)
    for number in (1, 2, 3):
        assert replicas[number].names() == [OBJECT.object]
    replicas.replicate()
    assert replicas.agree()
    replicas.replicate()
    replicas.steps()
    replicas.replicate()
    assert set(replicas.steps()) == {"compare"}
    # The tombstone of the wrong policy is queued like any other, and found to be of no use.
    assert set(reconcile(replicas)) <= {"superseded"}


def test_a_newer_object_in_the_right_place_wins(replicas: Replicas) -> None:
    put_object(replicas, 3, 1)
    put_object(replicas, 5, 0, b"newer")
    replicas.replicate()
    replicas.replicate()
    assert reconcile(replicas) == {"superseded": 1}
    assert get_object(replicas, 0).read_all() == b"newer"
    assert get_object(replicas, 1).status == 404


def test_a_deletion_in_the_wrong_policy_is_repeated_in_the_right_one(replicas: Replicas) -> None:
    put_object(replicas, 3, 0)
    replicas.replicate()
    replicas[3].update(row(OBJECT.object, 5, deleted=True, policy_index=1))
    replicas.replicate()
    replicas.replicate()
    assert reconcile(replicas) == {"deleted": 1}
    for number in (1, 2, 3):
        assert get_object(replicas, 0, number).status == 404
        assert replicas[number].names() == []


def test_a_deletion_holds_in_the_next_life_under_another_policy(replicas: Replicas) -> None:
    """An upload that failed left an object, of which the container had not heard when it was deleted."""
    put_object(replicas, 3, 1)
    replicas[3].wipe()
    replicas.replicate()
    for number in (1, 2, 3):
        replicas[number].update(row(OBJECT.object, 5, deleted=True))
        assert replicas[number].request("DELETE", 6).status == 204
    replicas.replicate()
    assert reconcile(replicas) == {}
    for number in (1, 2, 3):
        assert replicas[number].put(7, 1) == 201
    replicas[1].update(row(OBJECT.object, 3, policy_index=1))
    replicas.replicate()
    assert replicas[1].names() == [OBJECT.object]
    assert reconcile(replicas) == {"deleted": 1}
    for number in (1, 2, 3):
        assert get_object(replicas, 1, number).status == 404
    replicas.replicate()
    assert [replicas[number].names() for number in (1, 2, 3)] == [[], [], []]


def test_an_entry_stays_while_the_right_policy_cannot_be_written(replicas: Replicas) -> None:
    put_object(replicas, 3, 1)
    replicas.replicate()
    replicas.replicate()

    def refuse(request: BackendRequest) -> None:
        if request.method == "PUT" and request.node.ip != "10.0.0.1":
            raise NodeFailure(request.node, "connect")

    replicas.before = refuse
    assert reconcile(replicas) == {"failed": 1}
    assert get_object(replicas, 1).status == 200
    assert replicas[1].names(QUEUE) == [ENTRY]
    replicas.before = None
    assert reconcile(replicas) == {"moved": 1}


def test_a_version_that_only_one_server_took_is_not_deleted_from_where_it_was(
    replicas: Replicas, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_object(replicas, 3, 1)
    replicas.replicate()
    replicas.replicate()
    sent = moving._sent
    monkeypatch.setattr(moving, "_sent", lambda upload, piece: upload.node.ip == "10.0.0.1" and sent(upload, piece))
    assert reconcile(replicas) == {"failed": 1}
    for number in (1, 2, 3):
        assert get_object(replicas, 1, number).status == 200


def test_a_source_that_is_not_there_yet_is_waited_for(replicas: Replicas) -> None:
    put_object(replicas, 3, 1)
    replicas[3].update(row(OBJECT.object, 9, policy_index=1))
    replicas.replicate()
    replicas.replicate()
    assert reconcile(replicas) == {"not_there_yet": 1}
    assert get_object(replicas, 1).status == 200


def test_an_entry_of_a_life_that_is_outranked_is_taken_out_if_it_is_in_place(replicas: Replicas) -> None:
    entry = Misplaced(OBJECT, LATER_LIFE, 0, Timestamp.parse(at(3)), False)
    for number in (1, 2, 3):
        replicas[number].update(entry.row, path=QUEUE)
    replicas.replicate()
    assert reconcile(replicas) == {"in_place": 1}
    assert replicas[1].names(QUEUE) == []


def test_an_entry_of_a_life_of_which_too_few_have_heard_stays(replicas: Replicas) -> None:
    entry = Misplaced(OBJECT, Life(at(1.5), at(2)), 0, Timestamp.parse(at(3)), False)
    for number in (1, 2, 3):
        replicas[number].update(entry.row, path=QUEUE)
    replicas.replicate()
    assert reconcile(replicas) == {"waiting": 1}
    assert replicas[1].names(QUEUE) == [entry.name]


def test_what_was_in_its_place_in_one_life_is_moved_in_the_next(replicas: Replicas) -> None:
    """Node 3 queues the object while it cannot hear of the older life, with which a late deletion makes an end."""
    put_object(replicas, 3, 0)

    def cut(request: BackendRequest) -> None:
        of_container = request.method in ("REPLICATE", "HEAD") and request.node.port == 6201
        if of_container and (request.method == "REPLICATE" or request.node.ip == "10.0.0.3"):
            raise NodeFailure(request.node, "connect")

    replicas.before = cut
    replicas.replicate(3)
    assert replicas[1].names(QUEUE) == [f"0:{NEVER}:{at(2)}:{OBJECT}"]
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
    entries = [f"1:{NEVER}:{at(1)}:{OBJECT}", f"1:{at(6)}:{at(7)}:{OBJECT}"]
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
    assert replicas[1].names(QUEUE) == [ENTRY]
    replicas.replicate(3)
    assert replicas[1].names(QUEUE) == [f"1:{NEVER}:{at(0)}:{OBJECT}", ENTRY]


def test_an_object_with_the_longest_of_names_is_moved(replicas: Replicas) -> None:
    longest = "n" * Limits().max_object_name_length
    replicas[3].update(row(longest, 3, deleted=True, policy_index=1))
    replicas.replicate()
    replicas.replicate()
    assert reconcile(replicas) == {"deleted": 1}


def test_entries_of_what_is_gone_are_dropped_when_they_are_old(replicas: Replicas) -> None:
    entry = Misplaced(ResourcePath("a", "gone", "o"), FIRST_LIFE, 0, Timestamp.parse(at(3)), False)
    for number in (1, 2, 3):
        replicas[number].update(entry.row, path=QUEUE)
    assert reconcile(replicas) == {"waiting": 1}
    replicas.clock.seconds = NOW + 8 * 86400
    assert reconcile(replicas) == {"given_up": 1}
    assert replicas[1].names(QUEUE) == []


def test_without_a_quorum_of_the_container_nothing_is_moved(replicas: Replicas) -> None:
    put_object(replicas, 3, 1)
    replicas.replicate()
    replicas.replicate()
    tell_account(replicas)
    replicas[1].up = replicas[2].up = False
    node = replicas[3]
    replicas.clock.seconds = (NOW // TURN_SECONDS * TURN_SECONDS) + TURN_SECONDS * 3
    for _ in range(3):
        replicas.clock.seconds += TURN_SECONDS
        run_once(ContainerReconciler(ReconcilerConfig(), node.surroundings, 3.0))
        assert set(node.recon.read("container-reconciler")["counts"]) <= {"unknown_container"}
    assert get_object(replicas, 1, 3).status == 200


def test_every_server_has_its_turn_whatever_the_interval(replicas: Replicas) -> None:
    entry = Misplaced(ResourcePath("a", "gone", "o"), FIRST_LIFE, 0, Timestamp.parse(at(3)), False)
    for number in (1, 2, 3):
        replicas[number].update(entry.row, path=QUEUE)
    tell_account(replicas)
    reconciler = ContainerReconciler(ReconcilerConfig(), replicas[1].surroundings, 3.0)
    seen = []
    for _ in range(6):
        run_once(reconciler)
        seen.append(replicas[1].recon.read("container-reconciler")["counts"].get("waiting", 0))
        replicas.clock.seconds += 3 * TURN_SECONDS
    assert sorted(seen) == [0, 0, 0, 0, 1, 1]


def test_queueing_again_does_not_bring_back_what_was_dealt_with() -> None:
    entry = Misplaced(OBJECT, FIRST_LIFE, 1, Timestamp.parse(at(3)), False)
    assert merge_object_rows(entry.removed_row, entry.row) == entry.removed_row
    newer = Misplaced(OBJECT, FIRST_LIFE, 1, Timestamp.parse(at(4)), True)
    assert merge_object_rows(entry.removed_row, newer.row) == newer.row


def test_entries_are_read_back() -> None:
    deleted = after_delete(new_status(at(1)), at(2))
    for life in (FIRST_LIFE, deleted.life, after_put(deleted, at(3), 7).life):
        entry = misplaced(PATH, life, row("a:b/c", 3, policy_index=7, meta_timestamp=at(9)))
        assert entry == Misplaced(PATH.with_object("a:b/c"), life, 7, Timestamp.parse(at(9)), False)
        assert parse_entry(entry.name, entry.row.etag, entry.row.content_type) == entry


@pytest.mark.parametrize(
    "name", ["", "o", "x:0:0:/a/c/o", "1:0:0:/a/c", "1:0:0:a/c/o", "1:0:0:/a//o", "1:0:x:/a/c/o", "1:0:/a/c/o"]
)
def test_strange_entries(name: str) -> None:
    with pytest.raises(ValueError, match=".+"):
        parse_entry(name, at(1), "application/x-put")
