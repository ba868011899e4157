"""The records of a cloud service in SQL: SQLite, PostgreSQL or MariaDB."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Final, TypeVar

import sqlalchemy
from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.script import ScriptDirectory
from sqlalchemy.engine import Connection, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError
from sqlalchemy.orm import Session

from objstore.errors import StoreError

T = TypeVar("T")

ATTEMPTS: Final = 10
FIRST_PAUSE_SECONDS: Final = 0.01
BUSY_SECONDS: Final = 10  # how long a transaction waits for the writer before it
POOL_CONNECTIONS: Final = 10
POOL_OVERFLOW: Final = 30
LOCK_NUMBER: Final = 4_162_016  # of the upgrade, among PostgreSQL's advisory locks
READS: Final = "objstore_reads"  # an option of connections
# What PostgreSQL and MariaDB call two transactions that cannot both be.
CONFLICT_STATES: Final = frozenset({"40001", "40P01"})
CONFLICT_NUMBERS: Final = frozenset({1205, 1213})
_UPGRADING: Final = threading.Lock()  # alembic keeps in globals what it is at


@dataclass(eq=False)
class DatabaseUnusable(StoreError):
    """A database that cannot be opened or upgraded; no password in it."""

    message: ClassVar[str] = "{url}: {reason}"

    url: str
    reason: str


class SqlDatabase:
    """Transactions on the records of one service. Threads may share it.

    Each transaction sees the database as if it were alone. Where two cannot both be, one fails: `run` repeats it.
    """

    def __init__(self, url: str, migrations: Path, sleep: Callable[[float], object] = time.sleep) -> None:
        """`migrations` is a folder with alembic's folder `versions` in it. Raises DatabaseUnusable."""
        self._migrations = migrations
        self._sleep = sleep
        try:
            parsed = make_url(url)
            self.url = parsed.render_as_string(hide_password=True)
            self._is_sqlite = parsed.get_backend_name() == "sqlite"
            options: dict[str, Any] = {"pool_size": POOL_CONNECTIONS, "max_overflow": POOL_OVERFLOW}
            if self._is_sqlite:
                options["connect_args"] = {"timeout": BUSY_SECONDS, "check_same_thread": False}
            else:
                options |= {"isolation_level": "SERIALIZABLE", "pool_pre_ping": True}
            self.engine = sqlalchemy.create_engine(parsed, **options)
            # A transaction that only reads sees one state, and is in nobody's way.
            level = {} if self._is_sqlite else {"isolation_level": "REPEATABLE READ"}
            self._reading: dict[str, Any] = {READS: True, **level}
        except (ArgumentError, NoSuchModuleError, ModuleNotFoundError) as error:
            raise DatabaseUnusable(url.partition("://")[0], str(error)) from error
        if self._is_sqlite:
            sqlalchemy.event.listen(self.engine, "connect", _prepare_sqlite)
            sqlalchemy.event.listen(self.engine, "begin", _begin_sqlite)

    def upgrade(self) -> None:
        """Bring the tables to the newest version; processes that start together do it one after the other.

        Raises DatabaseUnusable.
        """
        config = Config()
        config.set_main_option("script_location", str(self._migrations).replace("%", "%%"))
        config.set_main_option("path_separator", "newline")
        script = ScriptDirectory.from_config(config)
        context = EnvironmentContext(config, script, fn=lambda revision, _: script._upgrade_revs("head", revision))
        try:
            with _UPGRADING, context, self.engine.begin() as connection, self._alone(connection):
                context.configure(connection=connection, render_as_batch=True)
                context.run_migrations()
        except DBAPIError as error:
            raise DatabaseUnusable(self.url, str(error.orig)) from error

    @contextmanager
    def _alone(self, connection: Connection) -> Iterator[None]:
        """Keeps other processes from upgrading. SQLite's transaction has the database for itself already.

        MariaDB's tables get the text of SQLite's: all of Unicode, and letters are not equal to their capitals.
        """
        if connection.dialect.name == "postgresql":
            connection.execute(sqlalchemy.text(f"SELECT pg_advisory_xact_lock({LOCK_NUMBER})"))
        if self._is_sqlite or connection.dialect.name == "postgresql":
            yield
            return
        if connection.scalar(sqlalchemy.text(f"SELECT GET_LOCK('objstore-upgrade', {BUSY_SECONDS})")) != 1:
            raise DatabaseUnusable(self.url, "another process upgrades it")
        try:
            connection.execute(sqlalchemy.text("ALTER DATABASE CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"))
            yield
        finally:
            connection.execute(sqlalchemy.text("SELECT RELEASE_LOCK('objstore-upgrade')"))

    @contextmanager
    def session(self) -> Iterator[Session]:
        """One transaction: stored at the block's end, undone if it raises. It may fail by a conflict: see `run`."""
        with Session(self.engine, expire_on_commit=False) as session, session.begin():
            yield session

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """One transaction that only reads. It sees one state, and waits for no writer."""
        with (
            self.engine.connect().execution_options(**self._reading) as connection,
            Session(connection, expire_on_commit=False) as session,
        ):
            yield session

    def run(self, work: Callable[[Session], T]) -> T:
        """What `work` returns, done in one transaction; `work` is called again after a conflict with another one."""
        for attempt in range(ATTEMPTS):
            try:
                with self.session() as session:
                    return work(session)
            except DBAPIError as error:
                if attempt == ATTEMPTS - 1 or not is_conflict(error):
                    raise
            self._sleep(FIRST_PAUSE_SECONDS * 2**attempt * (0.5 + random.random()))
        raise AssertionError("unreachable")

    def close(self) -> None:
        self.engine.dispose()


def is_conflict(error: DBAPIError) -> bool:
    """Whether the same transaction may succeed when it is tried again."""
    original: Any = error.orig
    state = getattr(original, "sqlstate", None) or getattr(original, "pgcode", None)
    number = next(iter(getattr(original, "args", ())), None)
    return state in CONFLICT_STATES or number in CONFLICT_NUMBERS or "database is locked" in str(original)


def _prepare_sqlite(connection: Any, _record: object) -> None:
    # The driver would begin transactions late, and none for reading or for changes of tables.
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in (
        f"busy_timeout = {BUSY_SECONDS * 1000}",  # first: others wait for it
        "journal_mode = WAL",
        "synchronous = FULL",
        "foreign_keys = ON",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    # A transaction that reads first and writes later could not get the lock once another has written.
    reads = connection.get_execution_options().get(READS, False)
    connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")
