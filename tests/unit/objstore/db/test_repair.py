"""Damaged databases: whatever meets the damage has it repaired, and until then nobody is told that there is none."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from objstore.container.consistency import ContainerAuditor
from objstore.daemon import Step, run_once
from objstore.db.repair import DatabaseRepairer
from objstore.paths import ResourcePath
from objstore.rows import ContainerRow, encode_rows
from tests.unit.objstore.db.harness import at, row
from tests.unit.objstore.db.replicas import ReplicaNode, Replicas

ROWS = 500


@pytest.fixture
def filled(replicas: Replicas) -> Replicas:
    """A container of ROWS objects on nodes 1 to 3, equal."""
    for number in (1, 2, 3):
        replicas[number].put(1)
        replicas[number].update(*[row(f"o{each:03}", size=each) for each in range(ROWS)])
    replicas.replicate()
    return replicas


def closed(node: ReplicaNode, folder: str = "containers") -> Path:
    """The node's database, which nobody has open any more; the log is copied back."""
    for store in (node.container.store, node.account.store, node.replicator.store, node.account_replicator.store):
        for database in [*store._open.values()]:
            database.close()
        store._open.clear()
    (file,) = node.database_files(folder)
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    return file


def garbage(file: Path) -> None:
    """Every page of the rows, but none that tells of the container itself."""
    with closing(sqlite3.connect(file)) as connection:
        (page,) = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'row'").fetchone()
    with file.open("r+b") as opened:
        opened.seek((page - 1) * 4096)
        opened.write(b"\xa5" * 4096)


def half(file: Path) -> None:
    with file.open("r+b") as opened:
        opened.truncate(file.stat().st_size // 2)


def empty(file: Path) -> None:
    file.write_bytes(b"")


def audit(node: ReplicaNode) -> None:
    run_once(ContainerAuditor(replace(node.context)))


def be_asked(node: ReplicaNode) -> None:
    """A peer that has more rows pulls and pushes."""
    node.world[1].update(row("more", 9))
    node.world.replicate(1)


EVENTS: dict[str, Callable[[ReplicaNode], object]] = {
    "read": lambda node: node.request("GET", query="format=json"),
    "listing": lambda node: node.request("GET", query="prefix=o3&delimiter=/"),
    "write": lambda node: node.update(row("new", 5)),
    "audit": audit,
    "replication": be_asked,
}


@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize("damage", [garbage, half, empty])
def test_whatever_meets_damage_has_it_repaired(filled: Replicas, damage: Callable[[Path], None], event: str) -> None:
    node = filled[3]
    damage(closed(node))
    EVENTS[event](node)
    assert list((node.device / "quarantined" / "containers").iterdir())
    if node.database_files() == []:  # the peer that asked has not restored it at once
        for method in ("HEAD", "GET", "POST", "DELETE", "PUT"):
            assert node.request(method, 7).status == 503
        assert node.update(row("lost", 6)) == 503
        assert node.database_files() == []
    assert DatabaseRepairer(node.replicator).step() is Step.IDLE
    assert set(node.names()) >= {f"o{each:03}" for each in range(ROWS)}
    assert not list((node.device / "containers_to_repair").iterdir())
    assert [each for each in (node.device / "tmp").iterdir() if ".db." in each.name] == []
    filled.replicate()
    filled.replicate()
    assert filled.agree()


def test_a_head_that_meets_damage(filled: Replicas) -> None:
    node = filled[3]
    half(closed(node))
    node.request("HEAD")
    assert node.request("HEAD").status == 503
    DatabaseRepairer(node.replicator).step()
    assert node.request("HEAD").headers["X-Container-Object-Count"] == str(ROWS)


def test_accounts_too(replicas: Replicas) -> None:
    account = ResourcePath("a")
    for number in (1, 2, 3):
        replicas[number].request("PUT", 1, path=account)
        rows = encode_rows([ContainerRow(f"c{each:03}", at(1)) for each in range(ROWS)])
        assert replicas[number].request("UPDATE", body=rows, path=account).status == 202
    node = replicas[2]
    half(closed(node, "accounts"))
    assert node.request("GET", query="format=json", path=account).status == 500
    assert node.request("GET", query="format=json", path=account).status == 503
    DatabaseRepairer(node.account_replicator).step()
    assert len(node.names(account)) == ROWS


def test_it_waits_for_peers_and_asks_all_of_them(filled: Replicas) -> None:
    node = filled[3]
    half(closed(node))
    node.request("HEAD")
    repairer = DatabaseRepairer(node.replicator)
    filled[1].up = filled[2].up = False
    repairer.step()
    assert node.request("HEAD").status == 503
    filled[2].wipe()
    filled[2].up = True
    repairer.step()
    assert node.request("HEAD").status == 503  # node 1 may have it
    filled[1].up = True
    repairer.step()
    assert len(node.names()) == ROWS


def test_what_no_replica_has_is_absent(filled: Replicas) -> None:
    node = filled[3]
    half(closed(node))
    node.request("HEAD")
    for number in (1, 2):
        filled[number].wipe()
    DatabaseRepairer(node.replicator).step()
    assert node.request("HEAD").status == 404
    assert node.put(9) == 201


def test_a_damaged_snapshot_is_refused(filled: Replicas, monkeypatch: pytest.MonkeyPatch) -> None:
    node = filled[3]
    half(closed(node))
    node.request("HEAD")
    monkeypatch.setattr("objstore.db.snapshots.CHUNK_BYTES", 4096)
    repairer = DatabaseRepairer(node.replicator)
    write, broken = repairer._snapshots._save, []

    def save(*arguments: Any) -> str:
        broken.append(write(*arguments))
        return "0" * 32

    monkeypatch.setattr(repairer._snapshots, "_save", save)
    repairer.step()
    assert len(broken) == 2
    assert node.request("HEAD").status == 503
    monkeypatch.undo()
    repairer.step()
    assert len(node.names()) == ROWS


def test_a_quarantined_replica_is_no_witness_of_a_deletion(filled: Replicas) -> None:
    """Node 2 comes back after long; that node 3 lacks the container for a while is not taken for a deletion."""
    for number in (1, 2, 3):
        filled[number].replicate()
    node, returning = filled[3], filled[2]
    half(closed(node))
    node.request("HEAD")
    filled[1].wipe()
    filled.clock.seconds += returning.config.reclaim_age + 1000
    filled.replicate(2)
    assert returning.counts.get("set_aside", 0) == 0
    assert len(returning.database_files()) == 1
