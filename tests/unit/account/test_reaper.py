"""What deleted accounts held is deleted, and then they are forgotten."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
import xxhash

from objstore.account.reaper import AccountReaper
from objstore.config.account import ReaperConfig
from objstore.daemon import run_once
from objstore.http.transport import BackendRequest, NodeFailure
from objstore.paths import ResourcePath
from objstore.rows import ContainerRow, ObjectRow, encode_rows
from tests.unit.objstore.db.harness import NOW, at
from tests.unit.objstore.db.replicas import Replicas

ACCOUNT = ResourcePath("a")
NAMES = ("c", "d", "é")


@pytest.fixture
def replicas(tmp_path: Path) -> Replicas:
    """An account with three containers of two objects each."""
    made = Replicas(tmp_path)
    for number in (1, 2, 3):
        node = made[number]
        node.request("PUT", 1, path=ACCOUNT)
        for name in NAMES:
            container = ResourcePath("a", name)
            assert node.request("PUT", 1, path=container, X_Backend_Storage_Policy_Index="1").status == 201
            for each in ("o", "p/ü"):
                put(made, number, container.with_object(each))
        rows = [ContainerRow(name, at(1), object_count=2, bytes_used=8, policy_index=1) for name in NAMES]
        node.request("UPDATE", body=encode_rows(rows), path=ACCOUNT)
    return made


def put(
    replicas: Replicas, number: int, path: ResourcePath, second: float = 2, version: str = "", **headers: str
) -> None:
    content = b"content!"
    etag = hashlib.md5(content).hexdigest()
    answer = replicas[number].request(
        "PUT",
        second,
        content,
        path=path,
        X_Backend_Storage_Policy_Index="1",
        Content_Type="text/plain",
        Etag=etag,
        X_Backend_Body_Checksum=xxhash.xxh3_128_hexdigest(content),
        **headers,
    )
    assert answer.status == 201
    replicas[number].update(
        ObjectRow(path.object, at(second), 8, "text/plain", etag, policy_index=1, version=version),
        path=path.container_path,
    )


def delete_account(replicas: Replicas, second: float = 50) -> None:
    for number in (1, 2, 3):
        assert replicas[number].request("DELETE", second, path=ACCOUNT).status == 204


def reap(replicas: Replicas, *numbers: int, **options: Any) -> dict[str, int]:
    """A pass of each node's, with what all of them counted."""
    total: dict[str, int] = {}
    for number in numbers or (1, 2, 3):
        node = replicas[number]
        run_once(AccountReaper(ReaperConfig(**options), node.context, 3.0))
        for outcome, count in node.recon.read("account-reaper")["counts"].items():
            total[outcome] = total.get(outcome, 0) + count
    return total


def data_files(replicas: Replicas) -> list[Path]:
    return [path for node in replicas.nodes.values() for path in node.device.glob("objects*/*/*/*/*.data")]


def test_a_live_account_is_left_alone(replicas: Replicas) -> None:
    assert reap(replicas) == {}
    assert len(data_files(replicas)) == 18


def test_a_deleted_account_is_emptied(replicas: Replicas) -> None:
    delete_account(replicas)
    replicas.clock.seconds = NOW + 200
    assert reap(replicas) == {"accounts": 3, "objects": 6, "containers": 3}
    assert data_files(replicas) == []
    for number in (1, 2, 3):
        for name in NAMES:
            assert replicas[number].request("HEAD", path=ResourcePath("a", name)).status == 404
    assert reap(replicas) == {}  # its database says that it is empty


def test_every_version_and_marker_goes_page_by_page(replicas: Replicas, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("objstore.direct.PAGE_NAMES", 2)
    kept = {"X_Backend_Version_Mode": "keep", "X_Backend_Storage_Policy_Index": "1"}
    path = ResourcePath("a", "c", "o")
    for number in (1, 2, 3):
        for second in (3, 4, 5):
            put(replicas, number, path, second, at(second), X_Backend_Version_Mode="keep")
        assert replicas[number].request("DELETE", 6, path=path, **kept).status == 204
        marker = ObjectRow("o", at(6), 0, "", "", policy_index=1, version=at(6), marker=True)
        replicas[number].update(marker, path=path.container_path)
    assert len(data_files(replicas)) == 18 + 9
    delete_account(replicas)
    replicas.clock.seconds = NOW + 200
    assert reap(replicas) == {"accounts": 3, "objects": 6 + 4, "containers": 3}
    assert data_files(replicas) == []
    assert reap(replicas) == {}


def test_what_is_locked_stays_as_long_as_it_is(replicas: Replicas) -> None:
    """Also where a server has missed the lock, which it would not keep to."""
    path = ResourcePath("a", "c", "o")
    for number in (1, 2, 3):
        for second in (3, 4):
            put(replicas, number, path, second, at(second), X_Backend_Version_Mode="keep")
        lockable = {"X_Container_Sysmeta_Object_Lock": "true", "X_Backend_Storage_Policy_Index": "1"}
        replicas[number].request("POST", 5, path=path.container_path, **lockable)
    lock = {
        "X_Backend_Version_Id": at(3),
        "X_Backend_Merge": "true",
        "X_Object_Transient_Sysmeta_Lock_Retention": f"COMPLIANCE {int(NOW) + 300}",
        "X_Backend_Storage_Policy_Index": "1",
    }
    for number in (1, 2):
        assert replicas[number].request("POST", 6, path=path, **lock).status == 202
    delete_account(replicas)
    replicas.clock.seconds = NOW + 200
    assert reap(replicas) == {"accounts": 3, "objects": 7, "objects_left": 1, "containers": 2}
    assert len(data_files(replicas)) == 3
    replicas.clock.seconds = NOW + 300
    assert reap(replicas) == {"accounts": 3, "objects": 1, "containers": 1}
    assert data_files(replicas) == []


def test_it_is_forgotten_then(replicas: Replicas) -> None:
    delete_account(replicas)
    replicas.clock.seconds = NOW + 8 * 86400
    for number in (1, 2, 3):
        run_once(replicas[number].account_replicator)
    assert all(replicas[number].database_files("accounts") for number in (1, 2, 3))
    reap(replicas)
    for _ in range(2):
        for number in (1, 2, 3):
            run_once(replicas[number].account_replicator)
    assert not any(replicas[number].database_files("accounts") for number in (1, 2, 3))


def test_the_delay_is_kept(replicas: Replicas) -> None:
    delete_account(replicas)
    replicas.clock.seconds = NOW + 100
    assert reap(replicas, delay_reaping=60.0) == {}
    replicas.clock.seconds = NOW + 111
    assert reap(replicas, delay_reaping=60.0)["containers"] == 3


def test_each_primary_does_its_share(replicas: Replicas) -> None:
    delete_account(replicas)
    replicas.clock.seconds = NOW + 200
    shares = [reap(replicas, number).get("containers", 0) for number in (1, 2, 3)]
    assert sum(shares) == 3


def test_what_cannot_be_deleted_is_left_to_the_next_pass(replicas: Replicas) -> None:
    delete_account(replicas)
    replicas.clock.seconds = NOW + 200

    def refuse(request: BackendRequest) -> None:
        if request.method == "DELETE" and request.path.object == "o":
            raise NodeFailure(request.node, "connect")

    replicas.before = refuse
    assert reap(replicas) == {"accounts": 3, "objects": 3, "objects_left": 3}
    replicas.before = None
    assert reap(replicas) == {"accounts": 3, "objects": 3, "containers": 3}


def test_a_container_that_only_the_account_knows_is_struck_off(replicas: Replicas) -> None:
    """Deleted and forgotten everywhere; a device that was away has told the account of it since."""
    ghost = ContainerRow("ghost", at(1), object_count=3, bytes_used=9, policy_index=1, stats_timestamp=at(60))
    for number in (1, 2, 3):
        replicas[number].request("UPDATE", body=encode_rows([ghost]), path=ACCOUNT)
    delete_account(replicas)
    replicas.clock.seconds = NOW + 8 * 86400
    assert reap(replicas) == {"accounts": 3, "objects": 6, "containers": 4}
    assert reap(replicas) == {}
    for _ in range(2):
        for number in (1, 2, 3):
            run_once(replicas[number].account_replicator)
    assert all(replicas[number].request("PUT", 9 * 86400, path=ACCOUNT).status == 201 for number in (1, 2, 3))


def test_a_container_is_not_struck_off_while_a_server_of_it_is_silent(replicas: Replicas) -> None:
    for number in (1, 2, 3):
        replicas[number].request("UPDATE", body=encode_rows([ContainerRow("ghost", at(1))]), path=ACCOUNT)
    delete_account(replicas)
    replicas.clock.seconds = NOW + 200

    def refuse(request: BackendRequest) -> None:
        if request.method == "DELETE" and request.path.container == "ghost" and request.node.ip == "10.0.0.3":
            raise NodeFailure(request.node, "connect")

    replicas.before = refuse
    reap(replicas)
    replicas.before = None
    assert reap(replicas)["containers"] == 1
    assert reap(replicas) == {}


def test_one_that_takes_too_long_is_said(replicas: Replicas) -> None:
    delete_account(replicas)
    replicas.clock.seconds = NOW + 40 * 86400
    reap(replicas)
    assert any(b"not reaped for long" in line for line in replicas[1].lines)
