"""Transactions and upgrades of the cloud services' databases."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from objstore.cloud.database import DatabaseUnusable, SqlDatabase

FIRST = """
import sqlalchemy as sa
from alembic import op
revision = "1"
down_revision = None
def upgrade():
    op.create_table("shelf", sa.Column("name", sa.String(10), primary_key=True))
    op.create_table("book", sa.Column("name", sa.String(10), primary_key=True),
                    sa.Column("shelf", sa.String(10), sa.ForeignKey("shelf.name"), nullable=False))
"""
SECOND = """
import sqlalchemy as sa
from alembic import op
revision = "2"
down_revision = "1"
def upgrade():
    op.add_column("shelf", sa.Column("width", sa.Integer, server_default="7"))
    op.execute("INSERT INTO missing VALUES (1)") if {broken} else None
"""


@pytest.fixture
def migrations(tmp_path: Path) -> Path:
    folder = tmp_path / "migrations"
    (folder / "versions").mkdir(parents=True)
    (folder / "versions/v1.py").write_text(FIRST)
    return folder


@pytest.fixture
def database(tmp_path: Path, migrations: Path) -> SqlDatabase:
    database = SqlDatabase(f"sqlite:///{tmp_path}/records.sqlite", migrations)
    database.upgrade()
    return database


def shelves(database: SqlDatabase) -> list[str]:
    with database.reading() as session:
        return list(session.execute(text("SELECT name FROM shelf ORDER BY name")).scalars())


def test_a_transaction_is_stored_whole_or_not_at_all(database: SqlDatabase) -> None:
    with database.session() as session:
        session.execute(text("INSERT INTO shelf (name) VALUES ('a')"))
    with pytest.raises(ZeroDivisionError), database.session() as session:
        session.execute(text("INSERT INTO shelf (name) VALUES ('b')"))
        raise ZeroDivisionError
    assert shelves(database) == ["a"]
    database.close()


def test_foreign_keys_hold(database: SqlDatabase) -> None:
    with pytest.raises(IntegrityError):
        database.run(lambda session: session.execute(text("INSERT INTO book VALUES ('b', 'nowhere')")))
    database.close()


def test_what_is_stored_outlives_a_loss_of_power(database: SqlDatabase) -> None:
    with database.reading() as session:
        assert session.execute(text("PRAGMA synchronous")).scalar() == 2
        assert session.execute(text("PRAGMA journal_mode")).scalar() == "wal"
    database.close()


def test_a_reader_does_not_wait_for_the_writer_and_sees_one_state(database: SqlDatabase) -> None:
    with database.session() as session:
        session.execute(text("INSERT INTO shelf (name) VALUES ('a')"))
        assert shelves(database) == []
    assert shelves(database) == ["a"]
    database.close()


def test_threads_that_count_lose_nothing(database: SqlDatabase) -> None:
    database.run(lambda session: session.execute(text("INSERT INTO shelf (name) VALUES ('0')")))

    def count(session: Session) -> None:
        number = session.execute(text("SELECT name FROM shelf")).scalar_one()
        session.execute(text("UPDATE shelf SET name = :name"), {"name": str(int(number) + 1)})

    threads = [threading.Thread(target=lambda: [database.run(count) for _ in range(5)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert shelves(database) == ["20"]
    database.close()


def test_an_upgrade_goes_on_from_where_the_last_one_ended(database: SqlDatabase, migrations: Path) -> None:
    database.run(lambda session: session.execute(text("INSERT INTO shelf (name) VALUES ('a')")))
    (migrations / "versions/v2.py").write_text(SECOND.format(broken=False))
    database.upgrade()
    database.upgrade()
    with database.reading() as session:
        assert session.execute(text("SELECT width FROM shelf")).scalar_one() == 7
    database.close()


def test_an_upgrade_that_fails_leaves_the_old_tables(database: SqlDatabase, migrations: Path) -> None:
    (migrations / "versions/v2.py").write_text(SECOND.format(broken=True))
    with pytest.raises(DatabaseUnusable, match="missing"):
        database.upgrade()
    (migrations / "versions/v2.py").write_text(SECOND.format(broken=False) + "# longer")
    database.upgrade()
    database.close()


def test_processes_that_start_together_upgrade_once(tmp_path: Path, migrations: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from objstore.cloud.database import SqlDatabase;"
        "SqlDatabase(sys.argv[1], Path(sys.argv[2])).upgrade()"
    )
    command = [sys.executable, "-c", program, f"sqlite:///{tmp_path}/records.sqlite", str(migrations)]
    started = [subprocess.Popen(command) for _ in range(3)]
    assert [process.wait(100) for process in started] == [0, 0, 0]


@pytest.mark.parametrize("url", ["nothing", "unknown://host/db", "sqlite:////nowhere/at/all.sqlite"])
def test_a_database_that_cannot_be_used(url: str, migrations: Path) -> None:
    with pytest.raises(DatabaseUnusable):
        SqlDatabase(url, migrations).upgrade()


def test_no_password_is_shown(migrations: Path) -> None:
    with pytest.raises(DatabaseUnusable) as caught:
        SqlDatabase("unknown://user:sesame@host/db", migrations)
    assert "sesame" not in str(caught.value)
