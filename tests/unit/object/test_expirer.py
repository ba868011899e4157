"""The expirer deletes what is over, in the policy on which its container's replicas agree."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import xxhash

from objstore.config.object import ExpirerConfig
from objstore.daemon import run_once
from objstore.expiry import ASYNC_DELETED, EXPIRY_ACCOUNT, queue_entry_name
from objstore.headers import Backend
from objstore.http.transport import BackendRequest
from objstore.object.container_updates.sender import QUEUE_CONTENT_TYPE
from objstore.object.expirer import ObjectExpirer
from objstore.paths import ResourcePath
from objstore.rows import EMPTY_ETAG, ContainerRow, ObjectRow, encode_rows
from tests.unit.objstore.db.harness import NOW, at
from tests.unit.objstore.db.replicas import PATH, Replicas

OBJECT = PATH.with_object("o")
DUE = NOW + 50
QUEUE = ResourcePath(EXPIRY_ACCOUNT, str(DUE // 3600 * 3600))
BODY = b"body"


@pytest.fixture
def replicas(tmp_path: Path) -> Replicas:
    """An object in policy 1 has expired, and is in the queue."""
    return with_expired(tmp_path, "")


def with_expired(tmp_path: Path, version: str) -> Replicas:
    made = Replicas(tmp_path)
    queued = ObjectRow(queue_entry_name(DUE, OBJECT, version), at(3), 0, QUEUE_CONTENT_TYPE, EMPTY_ETAG)
    listed = ContainerRow(QUEUE.container, at(3), object_count=1, stats_timestamp=at(4))
    for number in (1, 2, 3):
        node = made[number]
        node.request("PUT", 1, path=QUEUE.account_path)
        node.request("UPDATE", body=encode_rows([listed]), path=QUEUE.account_path)
        node.update(queued, path=QUEUE)
        answer = node.request(
            "PUT",
            3,
            BODY,
            path=OBJECT,
            X_Backend_Storage_Policy_Index="1",
            Content_Type="text/plain",
            Etag=hashlib.md5(BODY).hexdigest(),
            X_Backend_Body_Checksum=xxhash.xxh3_128_hexdigest(BODY),
            X_Delete_At=str(DUE),
            **({"X_Backend_Version_Mode": "keep"} if version else {}),
        )
        assert answer.status == 201
    return made


def expire(replicas: Replicas) -> dict[str, int]:
    """A pass of one process for all."""
    node = replicas[1]
    run_once(ObjectExpirer(ExpirerConfig(processes=1), node.context, [], 3.0))
    counts: dict[str, int] = node.recon.read("object-expirer")["counts"]
    return counts


def is_gone(replicas: Replicas) -> bool:
    """On all nodes, and not only to be seen no more."""
    headers = {"X_Backend_Storage_Policy_Index": "1", "X_Backend_Replication": "true"}
    statuses = {replicas[number].request("HEAD", path=OBJECT, **headers).status for number in (1, 2, 3)}
    assert len(statuses) == 1
    return statuses == {404}


def test_what_is_over_is_deleted(replicas: Replicas) -> None:
    for number in (1, 2, 3):
        replicas[number].put(1, 1)
    sent: list[BackendRequest] = []
    replicas.before = sent.append
    assert expire(replicas) == {"deleted": 1}
    assert all(Backend.BELATED in each.headers for each in sent if each.method == "DELETE")
    assert is_gone(replicas)
    assert replicas[1].names(QUEUE) == []


def test_a_kept_version_that_is_over_is_removed_alone(tmp_path: Path) -> None:
    replicas = with_expired(tmp_path, at(3))
    newer = {"X_Backend_Storage_Policy_Index": "1", "X_Backend_Version_Mode": "keep"}
    for number in (1, 2, 3):
        replicas[number].put(1, 1)
        assert replicas[number].request("DELETE", 4, path=OBJECT, **newer).status == 404
    assert expire(replicas) == {"deleted": 1}
    asked = {"X_Backend_Storage_Policy_Index": "1", "X_Backend_Open_Expired": "true"}
    for number in (1, 2, 3):
        answers = {
            version: replicas[number].request("HEAD", path=OBJECT, X_Backend_Version_Id=version, **asked)
            for version in (at(3), at(4))
        }
        assert answers[at(3)].headers["X-Backend-Timestamp"] == at(DUE - NOW)
        assert answers[at(4)].headers["X-Backend-Delete-Marker"] == "true"
    assert replicas[1].names(QUEUE) == []


def test_nothing_is_deleted_while_replicas_of_the_container_have_different_policies(replicas: Replicas) -> None:
    """A newer version may be in the other policy, older than the moment at which this one expired."""
    replicas[1].put(1, 0)
    replicas[2].put(1, 0)
    replicas[3].put(2, 1)
    assert expire(replicas) == {"waiting": 1}
    assert not is_gone(replicas)
    assert len(replicas[1].names(QUEUE)) == 1


@pytest.mark.parametrize("written_at", [3, 6])
def test_a_client_has_something_deleted_whether_it_expires_or_not(tmp_path: Path, written_at: int) -> None:
    """What was written after the client asked for it stays."""
    replicas = with_expired(tmp_path, "")
    other = PATH.with_object("other")
    headers = {"X_Backend_Storage_Policy_Index": "1", "Content_Type": "text/plain"}
    proof = {"Etag": hashlib.md5(BODY).hexdigest(), "X_Backend_Body_Checksum": xxhash.xxh3_128_hexdigest(BODY)}
    queued = ObjectRow(queue_entry_name(DUE, other), at(5), 0, ASYNC_DELETED, "noetag")
    for number in (1, 2, 3):
        replicas[number].put(1, 1)
        assert replicas[number].request("PUT", written_at, BODY, path=other, **headers, **proof).status == 201
        replicas[number].update(queued, path=QUEUE)
    assert expire(replicas) == {"deleted": 2}
    statuses = {replicas[number].request("HEAD", path=other, **headers).status for number in (1, 2, 3)}
    assert statuses == {404 if written_at < 5 else 200}
    assert replicas[1].names(QUEUE) == []
