"""Objects in the wrong policy are found, moved, and found no more."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import xxhash

from objstore.config.container import ReconcilerConfig
from objstore.container import moving
from objstore.container import replicator as container_replicator
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
QUEUED_AT = Timestamp.from_seconds(NOW + 100)
FIRST_LIFE, LATER_LIFE = Life(NEVER, at(1), 0), Life(NEVER, at(2), 1)
ENTRY = f"1:{NEVER}:{at(1)}:0:{OBJECT}"


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


def put_object(
    replicas: Replicas,
    second: float,
    policy: int,
    content: bytes = CONTENT,
    numbers: tuple[int, ...] = (1, 2, 3),
    **headers: str,
) -> None:
    """As a proxy that knows the policy of node 3's container would."""
    for number in numbers:
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


def post_object(replicas: Replicas, second: float, policy: int, color: str, **headers: str) -> None:
    """As a proxy would; node 3's container hears of it."""
    for number in (1, 2, 3):
        answer = replicas[number].request(
            "POST",
            second,
            path=OBJECT,
            X_Backend_Storage_Policy_Index=str(policy),
            X_Object_Meta_Color=color,
            **headers,
        )
        assert answer.status == 202
    known = next(each for each in replicas[3].rows() if each.policy_index == policy)
    replicas[3].update(msgspec.structs.replace(known, meta_timestamp=at(second)))


def converge(replicas: Replicas) -> None:
    """Containers learn of each other, and queue what is misplaced."""
    replicas.replicate()
    replicas.replicate()


def colors(replicas: Replicas, policy: int) -> set[tuple[bytes, str, str]]:
    """Content, metadata and type on all nodes."""
    found = [get_object(replicas, policy, number) for number in (1, 2, 3)]
    return {(each.read_all(), each.headers["X-Object-Meta-Color"], each.headers["Content-Type"]) for each in found}


def unreachable(address: str, *methods: str) -> Callable[[BackendRequest], None]:
    """No requests for the object, of these methods if any are named, reach this address."""

    def refuse(request: BackendRequest) -> None:
        asked = request.path == OBJECT and (not methods or request.method in methods)
        if asked and request.node.ip == address:
            raise NodeFailure(request.node, "connect")

    return refuse


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
    for _ in range(2):
        assert reconcile(replicas) == {"failed": 1}
        for number in (1, 2, 3):
            assert get_object(replicas, 1, number).status == 200
    monkeypatch.undo()
    assert reconcile(replicas) == {"moved": 1}
    assert {get_object(replicas, 0, number).read_all() for number in (1, 2, 3)} == {CONTENT}


def test_a_newer_upload_that_only_one_server_took_leaves_the_moved_version_to_the_others(replicas: Replicas) -> None:
    put_object(replicas, 3, 1)
    put_object(replicas, 5, 0, b"newer", numbers=(1,))
    converge(replicas)
    assert reconcile(replicas) == {"moved": 1}
    assert [get_object(replicas, 0, number).read_all() for number in (1, 2, 3)] == [b"newer", CONTENT, CONTENT]


def test_the_mark_that_a_moved_object_leaves_cannot_delete_it(replicas: Replicas) -> None:
    """Two servers say that there is nothing; the third, which has it, is not heard."""
    put_object(replicas, 3, 1)
    converge(replicas)
    put_object(replicas, 5, 1, b"newer")
    replicas.before = unreachable("10.0.0.3", "PUT")
    assert reconcile(replicas) == {"moved": 1}
    replicas.before = None
    replicas.replicate()
    assert replicas[1].names(QUEUE) == [ENTRY]
    shutil.rmtree(replicas[1].device / "objects")
    replicas.before = unreachable("10.0.0.2")
    assert reconcile(replicas) == {"deleted": 1}
    tombstones = {get_object(replicas, 0, number).headers[Backend.TIMESTAMP] for number in (1, 3)}
    replicas.before = None
    kept = get_object(replicas, 0, 2)
    assert kept.read_all() == b"newer"
    assert max(tombstones) < kept.headers[Backend.DATA_TIMESTAMP]


def test_a_newer_content_comes_to_newer_metadata(replicas: Replicas) -> None:
    put_object(replicas, 2.5, 0, b"old")
    put_object(replicas, 5, 1)
    post_object(replicas, 9, 0, "red", Content_Type="text/red")
    converge(replicas)
    assert reconcile(replicas) == {"moved": 1}
    assert colors(replicas, 0) == {(CONTENT, "red", "text/red")}


def test_newer_metadata_comes_to_a_newer_content(replicas: Replicas) -> None:
    put_object(replicas, 3, 1, b"old")
    put_object(replicas, 5, 0)
    post_object(replicas, 9, 1, "red", Content_Type="text/red")
    converge(replicas)
    assert reconcile(replicas) == {"superseded": 1}
    assert colors(replicas, 0) == {(CONTENT, "red", "text/red")}
    assert get_object(replicas, 1).status == 404


def test_metadata_and_type_keep_their_times(replicas: Replicas) -> None:
    put_object(replicas, 3, 1)
    post_object(replicas, 5, 1, "red", Content_Type="text/red")
    post_object(replicas, 9, 1, "green")
    put_object(replicas, 2.5, 0, b"old")
    post_object(replicas, 7, 0, "blue", Content_Type="text/blue")
    converge(replicas)
    assert reconcile(replicas) == {"moved": 1}
    assert colors(replicas, 0) == {(CONTENT, "green", "text/blue")}
    for number in (1, 2, 3):
        moved = get_object(replicas, 0, number).headers
        assert moved[Backend.DATA_TIMESTAMP] == later(Timestamp.parse(at(3)), 2).internal
        assert moved[Backend.TIMESTAMP] == later(Timestamp.parse(at(9)), 2).internal


def test_metadata_of_what_was_deleted_since_is_of_no_use(replicas: Replicas) -> None:
    put_object(replicas, 3, 1)
    post_object(replicas, 9, 1, "red")
    for number in (1, 2, 3):
        get = replicas[number].request("DELETE", 5, path=OBJECT, X_Backend_Storage_Policy_Index="0")
        assert get.status == 404
    converge(replicas)
    assert reconcile(replicas) == {"superseded": 1}
    assert get_object(replicas, 0).status == get_object(replicas, 1).status == 404


def test_a_deletion_holds_against_newer_metadata_of_what_it_deletes(replicas: Replicas) -> None:
    put_object(replicas, 2.5, 0)
    replicas[3].update(row(OBJECT.object, 5, deleted=True, policy_index=1))
    post_object(replicas, 9, 0, "red")
    converge(replicas)
    assert reconcile(replicas) == {"deleted": 1}
    assert get_object(replicas, 0).status == 404


def test_an_old_content_under_the_newest_metadata_is_not_taken_for_the_newest(replicas: Replicas) -> None:
    put_object(replicas, 3, 1, b"old")
    put_object(replicas, 5, 1, numbers=(2, 3))
    post_object(replicas, 9, 1, "red")
    converge(replicas)

    def refuse(request: BackendRequest) -> None:
        if request.path == OBJECT and request.method == "GET" and request.node.ip != "10.0.0.1":
            raise NodeFailure(request.node, "connect")

    replicas.before = refuse
    assert reconcile(replicas) == {"not_there_yet": 1}
    replicas.before = None
    assert reconcile(replicas) == {"moved": 1}
    assert colors(replicas, 0) == {(CONTENT, "red", "text/é".encode().decode("latin-1"))}


def test_a_version_is_waited_for_from_when_it_was_queued(replicas: Replicas) -> None:
    put_object(replicas, 3, 1)
    replicas.clock.seconds = NOW + 80 * 86400
    converge(replicas)
    for number in (1, 2, 3):
        shutil.move(replicas[number].device / "objects-1", replicas[number].device / "away")
    assert reconcile(replicas) == {"waiting": 1}
    for number in (1, 2, 3):
        shutil.rmtree(replicas[number].device / "objects-1", ignore_errors=True)
        shutil.move(replicas[number].device / "away", replicas[number].device / "objects-1")
    assert reconcile(replicas) == {"moved": 1}


def test_an_object_whose_servers_do_not_answer_is_not_given_up(replicas: Replicas) -> None:
    put_object(replicas, 3, 1)
    converge(replicas)
    replicas.clock.seconds = NOW + 80 * 86400

    def refuse(request: BackendRequest) -> None:
        if request.path == OBJECT and request.headers[Backend.POLICY_INDEX] == "1":
            raise NodeFailure(request.node, "connect")

    replicas.before = refuse
    assert reconcile(replicas) == {"unreachable": 1}
    replicas.before = None
    assert reconcile(replicas) == {"moved": 1}


def test_a_container_gets_rid_of_what_is_lost(replicas: Replicas) -> None:
    replicas[3].update(row(OBJECT.object, 3, policy_index=1))
    converge(replicas)
    assert reconcile(replicas) == {"waiting": 1}
    assert replicas[1].request("DELETE", 20).status == 409
    replicas.clock.seconds = NOW + 8 * 86400
    assert reconcile(replicas) == {"given_up": 1}
    for number in (1, 2, 3):
        assert replicas[number].request("DELETE", 20).status == 204


def test_a_newer_version_that_was_lost_is_not_waited_for_forever(replicas: Replicas) -> None:
    put_object(replicas, 3, 1)
    replicas[3].update(row(OBJECT.object, 9, policy_index=1))
    converge(replicas)
    assert reconcile(replicas) == {"not_there_yet": 1}
    replicas.clock.seconds = NOW + 8 * 86400
    assert reconcile(replicas) == {"moved": 1}
    assert get_object(replicas, 0).read_all() == CONTENT


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
    assert made[1].names(QUEUE) == [f"1:{NEVER}:{at(2)}:0:{OBJECT}"]
    assert reconcile(made) == {"waiting": 1}
    made.before = None
    shutil.rmtree(made[3].device / "containers")
    made[3].start()
    converge(made)
    assert reconcile(made) == {"moved": 1}


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
    assert replicas[1].names(QUEUE) == [ENTRY.replace(OBJECT.object, "late")]


def test_no_more_rows_are_queued_in_a_pass_than_memory_has_room_for(
    replicas: Replicas, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(container_replicator, "QUEUED_ROWS_MAX", 2)
    replicas[1].update(*(row(f"o{number}", 3, deleted=True, policy_index=1) for number in range(5)))
    for count in (2, 4, 5, 5):
        replicas.replicate(1)
        assert len(replicas[1].names(QUEUE)) == count


def test_a_source_that_is_not_there_yet_is_waited_for(replicas: Replicas) -> None:
    put_object(replicas, 3, 1)
    replicas[3].update(row(OBJECT.object, 9, policy_index=1))
    replicas.replicate()
    replicas.replicate()
    assert reconcile(replicas) == {"not_there_yet": 1}
    assert get_object(replicas, 1).status == 200


def test_an_entry_of_a_life_that_is_outranked_is_taken_out_if_it_is_in_place(replicas: Replicas) -> None:
    entry = Misplaced(OBJECT, LATER_LIFE, 0, Timestamp.parse(at(3)), False, QUEUED_AT)
    for number in (1, 2, 3):
        replicas[number].update(entry.row, path=QUEUE)
    replicas.replicate()
    assert reconcile(replicas) == {"in_place": 1}
    assert replicas[1].names(QUEUE) == []


def test_an_entry_of_a_life_of_which_too_few_have_heard_stays(replicas: Replicas) -> None:
    entry = Misplaced(OBJECT, Life(at(1.5), at(2), 1), 0, Timestamp.parse(at(3)), False, QUEUED_AT)
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
    assert replicas[1].names(QUEUE) == [f"0:{NEVER}:{at(2)}:1:{OBJECT}"]
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
    entries = [f"1:{NEVER}:{at(1)}:0:{OBJECT}", f"1:{at(6)}:{at(7)}:0:{OBJECT}"]
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
    assert replicas[1].names(QUEUE) == [f"1:{NEVER}:{at(0)}:0:{OBJECT}", ENTRY]


def test_an_object_with_the_longest_of_names_is_moved(replicas: Replicas) -> None:
    longest = "n" * Limits().max_object_name_length
    replicas[3].update(row(longest, 3, deleted=True, policy_index=1))
    replicas.replicate()
    replicas.replicate()
    assert reconcile(replicas) == {"deleted": 1}


def test_entries_of_what_is_gone_are_dropped_when_they_are_old(replicas: Replicas) -> None:
    entry = Misplaced(ResourcePath("a", "gone", "o"), FIRST_LIFE, 0, Timestamp.parse(at(3)), False, QUEUED_AT)
    for number in (1, 2, 3):
        replicas[number].update(entry.row, path=QUEUE)
    assert reconcile(replicas) == {"waiting": 1}
    replicas.clock.seconds = NOW + 8 * 86400
    assert reconcile(replicas) == {"given_up": 1}
    assert reconcile(replicas) == {}


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
    entry = Misplaced(ResourcePath("a", "gone", "o"), FIRST_LIFE, 0, Timestamp.parse(at(3)), False, QUEUED_AT)
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
    entry = Misplaced(OBJECT, FIRST_LIFE, 1, Timestamp.parse(at(3)), False, QUEUED_AT)
    assert merge_object_rows(entry.removed_row, entry.row).deleted
    newer = Misplaced(OBJECT, FIRST_LIFE, 1, Timestamp.parse(at(4)), True, QUEUED_AT)
    assert not merge_object_rows(entry.removed_row, newer.row).deleted


def test_entries_are_read_back() -> None:
    deleted = after_delete(new_status(at(1)), at(2))
    for life in (FIRST_LIFE, deleted.life, after_put(deleted, at(3), 7).life):
        entry = misplaced(PATH, life, row("a:b/c", 3, policy_index=7, meta_timestamp=at(9)), QUEUED_AT)
        assert entry == Misplaced(PATH.with_object("a:b/c"), life, 7, Timestamp.parse(at(9)), False, QUEUED_AT)
        assert parse_entry(entry.name, entry.row.etag, entry.row.content_type, QUEUED_AT.isoformat) == entry


@pytest.mark.parametrize(
    "name", ["", "o", "x:0:0:/a/c/o", "1:0:0:/a/c", "1:0:0:a/c/o", "1:0:0:/a//o", "1:0:x:/a/c/o", "1:0:/a/c/o"]
)
def test_strange_entries(name: str) -> None:
    with pytest.raises(ValueError, match=".+"):
        parse_entry(name, at(1), "application/x-put", QUEUED_AT.isoformat)
