"""What is moved is moved as it is, and nothing that is newer anywhere is lost."""

from __future__ import annotations

import shutil

import pytest

from objstore.container import moving
from objstore.container.queue import later
from objstore.headers import Backend
from objstore.http.transport import BackendRequest, NodeFailure
from objstore.timestamps import Timestamp
from tests.unit.container.reconciling import (
    CONTENT,
    ENTRY,
    OBJECT,
    QUEUE,
    colors,
    converge,
    get_object,
    post_object,
    put_object,
    reconcile,
    unreachable,
)
from tests.unit.objstore.db.harness import at
from tests.unit.objstore.db.replicas import Replicas


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


@pytest.mark.parametrize("behind", [1, 2, 3])
def test_an_old_content_under_the_newest_metadata_is_not_taken_for_the_newest(replicas: Replicas, behind: int) -> None:
    put_object(replicas, 3, 1, b"old")
    put_object(replicas, 5, 1, numbers=tuple({1, 2, 3} - {behind}))
    post_object(replicas, 9, 1, "red")
    converge(replicas)

    def refuse(request: BackendRequest) -> None:
        if request.path == OBJECT and request.method == "GET" and request.node.id != behind:
            raise NodeFailure(request.node, "connect")

    replicas.before = refuse
    assert reconcile(replicas) == {"not_there_yet": 1}
    replicas.before = None
    assert reconcile(replicas) == {"moved": 1}
    assert colors(replicas, 0) == {(CONTENT, "red", "text/é".encode().decode("latin-1"))}
