"""Damaged databases are found and set aside; wrong totals are made right."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from objstore.account.consistency import AccountAuditor
from objstore.container.consistency import ContainerAuditor
from objstore.daemon import Step, run_once
from objstore.paths import ResourcePath
from objstore.rows import ContainerRow
from tests.unit.objstore.db.harness import Servers, at, row
from tests.unit.objstore.db.replicas import Replicas


class Counting:
    """A Recon that keeps what it is told."""

    def __init__(self) -> None:
        self.figures: dict[str, object] = {}

    def report(self, daemon: str, **figures: object) -> None:
        self.figures |= {"daemon": daemon} | figures


def audit(servers: Servers, kind: type[ContainerAuditor] | type[AccountAuditor] = ContainerAuditor) -> dict[str, int]:
    """What a pass of a new auditor counts."""
    recon = Counting()
    auditor = kind(servers.context(recon=recon))
    assert run_once(auditor) is Step.IDLE
    counts = recon.figures["counts"]
    assert isinstance(counts, dict)
    return counts


def damage(servers: Servers, statement: str, folder: str = "containers") -> None:
    """As a bit flip would, behind the servers' backs."""
    with sqlite3.connect(servers.database_file(folder)) as connection:
        connection.execute(statement)
    connection.close()


def filled(servers: Servers) -> None:
    servers.to_container("PUT")
    servers.update([row(f"o{number:03}", size=number) for number in range(100)])
    servers.update([row("o001", 2, deleted=True), row("other", policy_index=1)])


@pytest.mark.parametrize("in_use", [True, False])
def test_sound_databases_stay(servers: Servers, in_use: bool) -> None:
    filled(servers)
    servers.to_account("PUT")
    servers.update_account([ContainerRow("c", at(1), object_count=3, bytes_used=5), ContainerRow("d", at(1), at(2))])
    if not in_use:
        for server in (servers.container, servers.account):
            for database in server.store._open.values():
                database.close()
    assert audit(servers) == {"sound": 1}
    assert audit(servers, AccountAuditor) == {"sound": 1}
    assert len(servers.listed()) == 99


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE row SET size = size + 1 WHERE name = 'o005'",
        "DELETE FROM row WHERE name = 'o005'",
        "DELETE FROM row WHERE name = 'o001'",
        "UPDATE resource SET sequence = 5",
        "UPDATE resource SET container = 'd'",
    ],
)
def test_damage_is_found_and_set_aside(servers: Servers, statement: str) -> None:
    filled(servers)
    damage(servers, statement)
    assert audit(servers) == {"quarantined": 1}
    assert servers.to_container("HEAD").status == 503
    assert len(list((servers.device / "quarantined" / "containers").iterdir())) == 1
    assert audit(servers) == {}


def test_a_bad_page_is_found(servers: Servers) -> None:
    filled(servers)
    file = servers.database_file()
    with servers.container.store.opened(servers.container.store.locate("sda", "5", ResourcePath("a", "c"))) as database:
        database.read(lambda connection: connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall())
    with file.open("r+b") as opened:
        opened.seek(file.stat().st_size - 4096)
        opened.write(b"\xff" * 4096)
    assert audit(servers) == {"quarantined": 1}
    assert servers.to_container("HEAD").status == 503


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE policy_stat SET row_count = row_count + 1 WHERE policy_index = 0",
        "UPDATE policy_stat SET bytes_used = 0 WHERE policy_index = 1",
        "DELETE FROM policy_stat",
        "INSERT INTO policy_stat VALUES (7, 1, 1, 0)",
    ],
)
def test_totals_that_are_not_those_of_the_rows_are_made_right(servers: Servers, statement: str) -> None:
    """The rows are sound, so it would be wrong to throw them away."""
    filled(servers)
    before = servers.to_container("HEAD").headers
    damage(servers, statement)
    for mark in (servers.device / "container_reports").iterdir():
        mark.unlink()
    assert audit(servers) == {"recounted": 1}
    assert servers.to_container("HEAD").headers == before
    assert len(list((servers.device / "container_reports").iterdir())) == 1
    assert audit(servers) == {"sound": 1}


def test_totals_of_accounts_are_made_right(servers: Servers) -> None:
    servers.to_account("PUT")
    servers.update_account([ContainerRow("c", at(1), object_count=3, bytes_used=5)])
    damage(servers, "UPDATE policy_stat SET object_count = 99", "accounts")
    assert audit(servers, AccountAuditor) == {"recounted": 1}
    assert servers.to_account("HEAD").headers["X-Account-Object-Count"] == "3"


def test_a_damaged_replica_is_restored_from_the_others(tmp_path: Path) -> None:
    replicas = Replicas(tmp_path)
    for number in (1, 2, 3):
        replicas[number].put(1)
        replicas[number].update(*[row(f"o{each:03}", size=each) for each in range(50)])
    replicas.replicate()
    node = replicas[3]
    with node.opened() as database:
        database.write(lambda connection: connection.execute("DELETE FROM row WHERE name = 'o007'").rowcount)
    recon = Counting()
    run_once(ContainerAuditor(replace(node.context, recon=recon)))
    assert recon.figures["counts"] == {"quarantined": 1}
    assert node.request("HEAD").status == 503
    replicas.replicate(1)
    assert replicas.agree()
    assert len(node.names()) == 50
