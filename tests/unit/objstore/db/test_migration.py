"""Databases of formats 1 to 4 are taken over when they are opened."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from objstore.account.consistency import AccountAuditor
from objstore.db.connection import DatabaseFailed
from objstore.db.tables import upgrade
from objstore.rows import ContainerRow
from objstore.system import concurrency
from tests.unit.objstore.db.harness import Servers, at, row
from tests.unit.objstore.db.replicas import Replicas
from tests.unit.objstore.db.test_auditor import audit

# What format 4 added, taken away again.
BACK_TO_3 = """
DROP TABLE orphan;
PRAGMA user_version = 3;
"""
# What format 3 added, taken away again.
BACK_TO_2 = """
ALTER TABLE row RENAME TO new_row;
DROP INDEX row_sequence;
CREATE TABLE row (
    deleted INTEGER NOT NULL, name TEXT NOT NULL, sequence INTEGER NOT NULL, policy_index INTEGER NOT NULL,
    timestamp TEXT NOT NULL, content_type_timestamp TEXT NOT NULL, meta_timestamp TEXT NOT NULL,
    size INTEGER NOT NULL, content_type TEXT NOT NULL, etag TEXT NOT NULL, listed_size INTEGER,
    last_modified TEXT NOT NULL, PRIMARY KEY (deleted, name, policy_index)
) WITHOUT ROWID;
CREATE UNIQUE INDEX row_sequence ON row (sequence);
INSERT INTO row SELECT deleted, name, sequence, policy_index, timestamp, content_type_timestamp, meta_timestamp, size,
    content_type, etag, listed_size, last_modified FROM new_row;
DROP TABLE new_row;
ALTER TABLE policy_stat DROP COLUMN version_count;
ALTER TABLE policy_stat RENAME COLUMN row_count TO object_count;
PRAGMA user_version = 2;
"""
# What format 2 added, taken away again.
BACK_TO_1 = """
DROP TABLE sync_point;
ALTER TABLE resource DROP COLUMN id;
ALTER TABLE resource DROP COLUMN live_digest;
ALTER TABLE resource DROP COLUMN tombstone_digest;
ALTER TABLE resource DROP COLUMN promises;
ALTER TABLE resource DROP COLUMN queued;
DELETE FROM policy_stat WHERE object_count = 0;
PRAGMA user_version = 1;
"""


def turn_back(file: Path, to_format: int = 1) -> None:
    connection = sqlite3.connect(file)
    connection.executescript(BACK_TO_3)
    if to_format <= 2:
        connection.executescript(BACK_TO_2)
    if to_format == 1:
        connection.executescript(BACK_TO_1)
    connection.close()


def fill(servers: Servers) -> None:
    servers.to_container("PUT", X_Container_Meta_A="1")
    servers.update([row("o", size=3), row("p", deleted=True), row("q", policy_index=1, deleted=True)])


@pytest.mark.parametrize("former", [1, 2, 3])
def test_an_older_format_is_taken_over_whole(servers: Servers, former: int) -> None:
    fill(servers)
    before = servers.to_container("HEAD").headers
    with sqlite3.connect(servers.database_file()) as connection:
        wanted = connection.execute("SELECT live_digest, tombstone_digest, sequence FROM resource").fetchone()
        stats = connection.execute("SELECT * FROM policy_stat ORDER BY 1").fetchall()
    connection.close()
    turn_back(servers.database_file(), former)
    servers.container = servers.new_container_server()
    assert servers.to_container("HEAD").headers == before
    assert [each["name"] for each in servers.listed()] == ["o"]
    with sqlite3.connect(servers.database_file()) as connection:
        assert connection.execute("SELECT live_digest, tombstone_digest, sequence FROM resource").fetchone() == wanted
        assert connection.execute("SELECT length(id) FROM resource").fetchone() == (32,)
        assert connection.execute("PRAGMA user_version").fetchone() == (5,)
        assert connection.execute("SELECT * FROM policy_stat ORDER BY 1").fetchall() == stats
    connection.close()
    assert servers.update([row("r", 2)]).status == 202
    assert audit(servers) == {"sound": 1}


def test_an_account_counts_anew_what_its_users_see(servers: Servers) -> None:
    servers.to_account("PUT")
    rows = [ContainerRow(name, at(1), object_count=3, bytes_used=10) for name in ("c", "\0uploads\0c")]
    servers.update_account(rows)
    before = servers.to_account("HEAD").headers
    assert before["X-Account-Container-Count"] == "1"
    file = servers.database_file("accounts")
    with sqlite3.connect(file) as connection:
        connection.executescript(
            "ALTER TABLE policy_stat DROP COLUMN hidden_count; UPDATE policy_stat SET object_count = 6;"
            "PRAGMA user_version = 4;"
        )
    connection.close()
    servers.account = servers.new_account_server()
    assert servers.to_account("HEAD").headers == before
    assert audit(servers, AccountAuditor) == {"sound": 1}


def test_two_processes_take_it_over_at_once(servers: Servers) -> None:
    fill(servers)
    turn_back(servers.database_file())
    others = [servers.new_container_server() for _ in range(4)]
    tasks = [concurrency.spawn(servers.call, other, "HEAD", "/sda/5/a/c") for other in others]
    assert [task.wait().status for task in tasks] == [204] * 4
    assert audit(servers) == {"sound": 1}


def test_a_taking_over_that_is_broken_off_changes_nothing(servers: Servers) -> None:
    fill(servers)
    file = servers.database_file()
    turn_back(file)

    def fail() -> str:
        raise DatabaseFailed(str(file), "no")

    connection = sqlite3.connect(file, isolation_level=None)
    with pytest.raises(DatabaseFailed):
        upgrade(servers.container.schema, fail)(connection)
    assert connection.execute("PRAGMA user_version").fetchone() == (1,)
    connection.close()
    servers.container = servers.new_container_server()
    assert servers.to_container("HEAD").status == 204


def test_replicas_of_format_1_are_replicated(tmp_path: Path) -> None:
    replicas = Replicas(tmp_path)
    for number in (1, 2, 3):
        replicas[number].put(1)
        replicas[number].update(row(f"o{number}"))
        turn_back(replicas[number].database_files()[0])
        replicas[number].start()
    replicas.replicate()
    replicas.replicate()
    assert replicas.agree()
    assert replicas[1].names() == ["o1", "o2", "o3"]
