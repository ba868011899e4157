"""Objects in the wrong policy are found, moved, and found no more."""

from __future__ import annotations

import shutil

import pytest

from objstore.config.container import ReconcilerConfig
from objstore.container.reconciler import TURN_SECONDS, ContainerReconciler
from objstore.daemon import run_once
from objstore.db.status import Incarnation
from objstore.headers import Backend
from objstore.http.transport import BackendRequest, NodeFailure
from objstore.paths import ResourcePath
from tests.unit.container.reconciling import (
    CONTENT,
    FIRST_LIFE,
    OBJECT,
    QUEUE,
    converge,
    entry_of,
    get_object,
    post_object,
    put_object,
    reconcile,
    tell_account,
    unreachable,
)
from tests.unit.objstore.db.harness import NOW, at, row
from tests.unit.objstore.db.replicas import PATH, Replicas


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


def test_a_deletion_holds_against_newer_metadata_of_what_it_deletes(replicas: Replicas) -> None:
    put_object(replicas, 2.5, 0)
    replicas[3].update(row(OBJECT.object, 5, deleted=True, policy_index=1))
    post_object(replicas, 9, 0, "red")
    converge(replicas)
    assert reconcile(replicas) == {"deleted": 1}
    assert get_object(replicas, 0).status == 404


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


def test_an_old_entry_is_not_given_up_while_a_server_is_away(replicas: Replicas) -> None:
    put_object(replicas, 3, 1, numbers=(3,))
    converge(replicas)
    replicas.clock.seconds = NOW + 8 * 86400
    replicas.before = unreachable("10.0.0.3")
    assert reconcile(replicas) == {"unreachable": 1}
    replicas.before = None
    assert reconcile(replicas) == {"moved": 1}


def test_a_version_that_is_there_but_cannot_be_read_is_not_given_up(replicas: Replicas) -> None:
    put_object(replicas, 3, 1)
    converge(replicas)
    replicas.clock.seconds = NOW + 8 * 86400

    def refuse(request: BackendRequest) -> None:
        if request.path == OBJECT and request.method == "GET":
            raise NodeFailure(request.node, "response")

    replicas.before = refuse
    assert reconcile(replicas) == {"unreachable": 1}
    replicas.before = None
    assert reconcile(replicas) == {"moved": 1}


def test_an_entry_is_not_given_up_while_a_replica_that_may_know_its_life_is_away(replicas: Replicas) -> None:
    entry = entry_of(OBJECT, Incarnation(at(1.5), at(2), 1), 0)
    for number in (1, 2, 3):
        replicas[number].update(entry.row, path=QUEUE)
    tell_account(replicas)
    replicas.clock.seconds = NOW + 8 * 86400

    def cut(request: BackendRequest) -> None:
        if request.method == "HEAD" and request.path == PATH and request.node.ip == "10.0.0.3":
            raise NodeFailure(request.node, "connect")

    replicas.before = cut
    assert reconcile(replicas) == {"unreachable": 1}
    replicas.before = None
    assert reconcile(replicas) == {"given_up": 1}


def test_an_older_version_is_not_moved_while_a_server_is_away(replicas: Replicas) -> None:
    put_object(replicas, 3, 1)
    replicas[3].update(row(OBJECT.object, 9, policy_index=1))
    converge(replicas)
    replicas.clock.seconds = NOW + 8 * 86400
    replicas.before = unreachable("10.0.0.3")
    assert reconcile(replicas) == {"not_there_yet": 1}


def test_what_another_version_answers_fails_alone(replicas: Replicas, monkeypatch: pytest.MonkeyPatch) -> None:
    put_object(replicas, 3, 1)
    converge(replicas)
    monkeypatch.setattr(Backend, "CONTENT_TYPE_TIMESTAMP", "Content-Type")  # which is no timestamp
    assert reconcile(replicas) == {"failed": 1}


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


def test_a_source_that_is_not_there_yet_is_waited_for(replicas: Replicas) -> None:
    put_object(replicas, 3, 1)
    replicas[3].update(row(OBJECT.object, 9, policy_index=1))
    replicas.replicate()
    replicas.replicate()
    assert reconcile(replicas) == {"not_there_yet": 1}
    assert get_object(replicas, 1).status == 200


def test_entries_of_what_is_gone_are_dropped_when_they_are_old(replicas: Replicas) -> None:
    entry = entry_of(ResourcePath("a", "gone", "o"), FIRST_LIFE, 0)
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
        run_once(ContainerReconciler(ReconcilerConfig(), node.context, 3.0))
        assert set(node.recon.read("container-reconciler")["counts"]) <= {"unknown_container"}
    assert get_object(replicas, 1, 3).status == 200


def test_every_server_has_its_turn_whatever_the_interval(replicas: Replicas) -> None:
    entry = entry_of(ResourcePath("a", "gone", "o"), FIRST_LIFE, 0)
    for number in (1, 2, 3):
        replicas[number].update(entry.row, path=QUEUE)
    tell_account(replicas)
    reconciler = ContainerReconciler(ReconcilerConfig(), replicas[1].context, 3.0)
    seen = []
    for _ in range(6):
        run_once(reconciler)
        seen.append(replicas[1].recon.read("container-reconciler")["counts"].get("waiting", 0))
        replicas.clock.seconds += 3 * TURN_SECONDS
    assert sorted(seen) == [0, 0, 0, 0, 1, 1]
