"""What is moved is moved as it is, and nothing that is newer anywhere is lost."""

from __future__ import annotations

import pytest

from objstore.container import moving
from objstore.container.queue import ACCOUNT, moved_at, removed_at
from objstore.headers import Backend
from objstore.http.transport import BackendRequest, NodeFailure
from objstore.paths import ResourcePath
from objstore.timestamps import Timestamp
from tests.unit.container.reconciling import (
    CONTENT,
    ENTRY,
    OBJECT,
    QUEUE,
    TYPE,
    colors,
    converge,
    delete_object,
    get_object,
    post_object,
    put_object,
    reconcile,
)
from tests.unit.objstore.db.harness import at, row
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
        assert moved.headers[Backend.TIMESTAMP] == moved_at(Timestamp.parse(at(3))).internal
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


def test_the_mark_that_a_moved_object_leaves_is_no_deletion(replicas: Replicas) -> None:
    """Nor is it in another life, in which all rows are queued again."""
    put_object(replicas, 3, 1)
    post_object(replicas, 9, 1, "red")
    converge(replicas)
    assert reconcile(replicas) == {"moved": 1}
    replicas[3].wipe()
    replicas[3].request("PUT", 1, path=ResourcePath(ACCOUNT))
    assert replicas[3].put(0.5, 0) == 201
    converge(replicas)
    assert replicas[1].request("HEAD").headers[Backend.STATUS_CHANGED_AT] == at(0.5)
    assert reconcile(replicas) == {}
    assert [get_object(replicas, 0, number).status for number in (1, 2, 3)] == [200, 200, 404]


def test_metadata_whose_row_is_late_is_moved(replicas: Replicas) -> None:
    put_object(replicas, 3, 1)
    converge(replicas)
    post_object(replicas, 9, 1, "red", is_late=True)
    assert reconcile(replicas) == {"moved": 1}
    converge(replicas)
    assert reconcile(replicas) == {}
    assert colors(replicas, 0) == {(CONTENT, "red", TYPE)}


def test_metadata_that_is_posted_while_the_content_is_moved_is_moved_too(replicas: Replicas) -> None:
    put_object(replicas, 3, 1)
    converge(replicas)

    def post(request: BackendRequest) -> None:
        if request.path == OBJECT and request.method == "PUT":
            replicas.before = None
            post_object(replicas, 12, 1, "green", is_late=True)

    replicas.before = post
    assert reconcile(replicas) == {"not_there_yet": 1}
    assert reconcile(replicas) == {"superseded": 1}
    assert colors(replicas, 0) == {(CONTENT, "green", TYPE)}


def test_content_that_is_older_than_the_metadata_that_was_moved_stays(replicas: Replicas) -> None:
    put_object(replicas, 3, 1, b"old")
    post_object(replicas, 9, 1, "red")
    converge(replicas)

    def put(request: BackendRequest) -> None:
        if request.path == OBJECT and request.method == "DELETE":
            replicas.before = None
            put_object(replicas, 7, 1)

    replicas.before = put
    assert reconcile(replicas) == {"moved": 1}
    assert get_object(replicas, 1).read_all() == CONTENT
    converge(replicas)
    assert reconcile(replicas) == {"moved": 1}
    assert colors(replicas, 0) == {(CONTENT, "red", TYPE)}


@pytest.mark.parametrize("missing", [1, 2, 3])
def test_a_type_that_one_server_missed_is_moved(replicas: Replicas, missing: int) -> None:
    put_object(replicas, 3, 1)
    post_object(replicas, 7, 1, "blue", numbers=tuple({1, 2, 3} - {missing}), Content_Type="text/blue")
    post_object(replicas, 9, 1, "red")
    converge(replicas)
    if (seen := reconcile(replicas)) != {"moved": 1}:
        assert seen == {"not_there_yet": 1}
        post_object(replicas, 7, 1, "blue", numbers=(missing,), Content_Type="text/blue", is_late=True)
        assert reconcile(replicas) == {"moved": 1}
    assert colors(replicas, 0) == {(CONTENT, "red", "text/blue")}


def test_a_content_that_is_newer_than_a_deletion_survives_the_metadata_of_what_was_deleted(replicas: Replicas) -> None:
    put_object(replicas, 3, 1, b"old")
    post_object(replicas, 9, 1, "red")
    replicas[3].update(row(OBJECT.object, 5, deleted=True, policy_index=1))
    put_object(replicas, 7, 0)
    for number in (1, 2, 3):
        answer = replicas[number].request("DELETE", 5, path=OBJECT, X_Backend_Storage_Policy_Index="1")
        assert answer.status == 204
    converge(replicas)
    assert replicas[1].names(QUEUE) == [ENTRY.replace(":PUT:", ":DELETE:").replace(at(3), at(5))]
    assert reconcile(replicas) == {"superseded": 1}
    assert colors(replicas, 0) == {(CONTENT, "blau", TYPE)}


def test_metadata_comes_to_a_content_that_is_newer_than_its_entry(replicas: Replicas) -> None:
    put_object(replicas, 3, 1, b"old")
    post_object(replicas, 9, 1, "red")
    put_object(replicas, 10, 0)
    converge(replicas)
    post_object(replicas, 12, 1, "green", is_late=True)
    assert reconcile(replicas) == {"superseded": 1}
    assert colors(replicas, 0) == {(CONTENT, "green", TYPE)}


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
    written: list[BackendRequest] = []
    put_object(replicas, 3, 1)
    post_object(replicas, 5, 1, "red", Content_Type="text/red")
    post_object(replicas, 9, 1, "green")
    put_object(replicas, 2.5, 0, b"old")
    post_object(replicas, 7, 0, "blue", Content_Type="text/blue")
    converge(replicas)
    replicas.before = written.append
    assert reconcile(replicas) == {"moved": 1}
    replicas.before = None
    marked = {each.method for each in written if Backend.BELATED in each.headers}
    assert marked == {"PUT", "POST", "DELETE"}, "for their times are those of what is moved"
    assert colors(replicas, 0) == {(CONTENT, "green", "text/blue")}
    for number in (1, 2, 3):
        moved = get_object(replicas, 0, number).headers
        assert moved[Backend.DATA_TIMESTAMP] == moved_at(Timestamp.parse(at(3))).internal
        assert moved[Backend.TIMESTAMP] == moved_at(Timestamp.parse(at(9))).internal


def test_metadata_of_what_was_deleted_since_is_of_no_use(replicas: Replicas) -> None:
    put_object(replicas, 3, 1)
    post_object(replicas, 9, 1, "red")
    for number in (1, 2, 3):
        get = replicas[number].request("DELETE", 5, path=OBJECT, X_Backend_Storage_Policy_Index="0")
        assert get.status == 404
    converge(replicas)
    assert reconcile(replicas) == {"superseded": 1}
    assert get_object(replicas, 0).status == get_object(replicas, 1).status == 404


def test_metadata_waits_for_a_content_that_comes_back(replicas: Replicas) -> None:
    """It was moved away from the right policy in another life of the container."""
    put_object(replicas, 3, 1, b"old")
    post_object(replicas, 9, 1, "green")
    for number in (1, 2, 3):
        moved_away = removed_at(Timestamp.parse(at(7)))
        headers = {"X_Timestamp": moved_away.internal, "X_Backend_Storage_Policy_Index": "0"}
        assert replicas[number].request("DELETE", 7, path=OBJECT, **headers).status == 404
    converge(replicas)
    assert reconcile(replicas) == {"not_there_yet": 1}
    put_object(replicas, 8, 0)
    assert reconcile(replicas) == {"superseded": 1}
    assert colors(replicas, 0) == {(CONTENT, "green", TYPE)}


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
    assert colors(replicas, 0) == {(CONTENT, "red", TYPE)}


def test_all_versions_of_the_wrong_policy_are_moved_as_they_are(replicas: Replicas) -> None:
    keep, first = {"X_Backend_Version_Mode": "keep"}, at(3)
    put_object(replicas, 3, 1, b"first", **keep)
    put_object(replicas, 4, 1, b"second", **keep)
    put_object(replicas, 5, 1, b"first", **keep, X_Backend_Version_Id=first)  # restored
    marker = row(OBJECT.object, 6, version=at(6), marker=True, policy_index=1)
    delete_object(replicas, 6, 1, marker, **keep)
    post_object(replicas, 9, 1, "red", is_late=True, X_Backend_Version_Id=at(4))
    converge(replicas)
    assert reconcile(replicas) == {"moved": 3}
    for number in (1, 2, 3):
        for version, content, written, color in ((first, b"first", 5, "blau"), (at(4), b"second", 4, "red")):
            asked = {"X_Backend_Version_Id": version}
            moved = get_object(replicas, 0, number, **asked)
            assert (moved.read_all(), moved.headers[Backend.DATA_TIMESTAMP]) == (content, at(written))
            assert moved.headers["X-Object-Meta-Color"] == color
            assert get_object(replicas, 1, number, **asked).status == 404
        hidden = get_object(replicas, 0, number)
        assert (hidden.status, hidden.headers[Backend.VERSION_ID]) == (404, at(6))
        assert Backend.DELETE_MARKER not in get_object(replicas, 1, number, X_Backend_Version_Id=at(6)).headers
        listed = [(each.policy_index, each.version, each.deleted) for each in replicas[number].rows()]
        assert sorted(listed) == [(policy, at(each), policy == 1) for policy in (0, 1) for each in (3, 4, 6)]
    replicas.replicate()
    assert reconcile(replicas) == {}


def test_the_null_marker_is_moved_and_goes_on_hiding_what_is_older(replicas: Replicas) -> None:
    put_object(replicas, 3, 1, X_Backend_Version_Mode="keep")
    delete_object(replicas, 5, 1, row(OBJECT.object, 5, marker=True, policy_index=1), X_Backend_Version_Mode="null")
    converge(replicas)
    assert reconcile(replicas) == {"moved": 2}
    for number in (1, 2, 3):
        assert get_object(replicas, 0, number).status == 404
        assert get_object(replicas, 0, number, X_Backend_Version_Id=at(3)).read_all() == CONTENT
        assert Backend.DELETE_MARKER not in get_object(replicas, 1, number).headers


def test_a_version_that_was_removed_in_either_policy_is_gone(replicas: Replicas) -> None:
    for second, policy in ((3, 0), (4, 1)):
        put_object(replicas, second, 1, X_Backend_Version_Mode="keep")
        put_object(replicas, second, 0, X_Backend_Version_Mode="keep")
        gone = row(OBJECT.object, 7, version=at(second), deleted=True, policy_index=policy)
        delete_object(replicas, 7, policy, gone, X_Backend_Version_Id=at(second))
    converge(replicas)
    assert reconcile(replicas) == {"superseded": 1, "deleted": 1}
    for number in (1, 2, 3):
        for policy in (0, 1):
            assert get_object(replicas, policy, number).status == 404
            assert replicas[number].names() == []


def test_a_version_that_comes_back_waits_until_the_mark_that_it_left_is_forgotten(replicas: Replicas) -> None:
    put_object(replicas, 3, 1, X_Backend_Version_Mode="keep")
    left = removed_at(Timestamp.parse(at(3)))
    for number in (1, 2, 3):
        # As when it was moved from there.
        asked = {"X_Timestamp": left.internal, "X_Backend_Version_Id": at(3)}
        replicas[number].request("DELETE", path=OBJECT, X_Backend_Storage_Policy_Index="0", **asked)
    converge(replicas)
    assert reconcile(replicas) == {"waiting": 1}
    assert get_object(replicas, 1).read_all() == CONTENT


def test_a_version_stays_while_its_object_has_too_many(replicas: Replicas, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("objstore.object.versions.VERSIONS_MAX", 2)
    for second, policy in ((3, 0), (4, 0), (5, 1)):
        put_object(replicas, second, policy, X_Backend_Version_Mode="keep")
    converge(replicas)
    assert reconcile(replicas) == {"failed": 1}
    assert get_object(replicas, 1).read_all() == CONTENT
