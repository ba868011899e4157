"""The auditor of databases: a worker that checks all of them, pass after pass, and quarantines damaged ones."""

from __future__ import annotations

import sqlite3
from abc import abstractmethod
from functools import partial
from typing import Final, Generic

from objstore.cluster import Cluster
from objstore.daemon import Step
from objstore.db.connection import DatabaseAbsent, DatabaseBusy, DatabaseCorrupt, DatabaseFailed
from objstore.db.database import Database
from objstore.db.info import read_status, read_totals
from objstore.db.location import DatabaseLocation, Walk
from objstore.db.reports import PassReport
from objstore.db.schema import Row, TableSchema, rows_digest
from objstore.db.store import DatabaseStore
from objstore.db.summary import peek, summary_of
from objstore.db.tables import stored_rows, sums_of
from objstore.mounts import DeviceRoot
from objstore.paths import ResourcePath
from objstore.recon import Recon
from objstore.runtime import Runtime

SOUND: Final = "ok"


class Audit(Generic[Row]):
    def __init__(self, schema: TableSchema[Row], cluster: Cluster) -> None:
        self._schema = schema
        self._hasher = cluster.hasher
        self._sums = sums_of(schema)
        marks = ", ".join("?" * (len(schema.totals) + 1))
        self._insert = f"INSERT OR REPLACE INTO policy_stat (policy_index, {', '.join(schema.totals)})"
        self._insert += f" VALUES ({marks})"

    def check(self, location: DatabaseLocation, connection: sqlite3.Connection) -> bool:
        """Look at all of it, at one moment; whether its totals are right. Not inside a transaction; takes long.

        Totals follow from the rows, and can be made right (`recount`). Anything else that is wrong cannot: raises
        DatabaseCorrupt. Raises DatabaseRemoved.
        """
        connection.execute("BEGIN")
        try:
            (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
            if verdict != SOUND:
                raise DatabaseCorrupt(location.file, verdict)
            self._check_rows(location, connection)
            return self._true_totals(connection) == _nonzero(read_totals(connection))
        finally:
            connection.execute("ROLLBACK")

    def recount(self, database: Database) -> None:
        """Make the totals those of the rows. Raises as Database.write."""
        database.write(self._recount)

    def _check_rows(self, location: DatabaseLocation, connection: sqlite3.Connection) -> None:
        summary = summary_of(connection)
        if self._hasher.hexdigest(ResourcePath(summary.account, summary.container)) != location.hash:
            raise DatabaseCorrupt(location.file, "it is the database of another resource")
        (last,) = connection.execute("SELECT max(sequence) FROM row").fetchone()
        if last is not None and last > summary.sequence:
            raise DatabaseCorrupt(location.file, f"a row has the sequence {last}, beyond {summary.sequence}")
        for deleted, digest in ((False, summary.live_digest), (True, summary.tombstone_digest)):
            if rows_digest(stored_rows(connection, self._schema, deleted)) != digest:
                raise DatabaseCorrupt(location.file, "the rows do not match their digest")

    def _true_totals(self, connection: sqlite3.Connection) -> dict[int, tuple[int, ...]]:
        return _nonzero({policy: tuple(figures) for policy, *figures in connection.execute(self._sums)})

    def _recount(self, connection: sqlite3.Connection) -> None:
        read_status(connection)
        zeros = (0,) * len(self._schema.totals)
        policies = dict.fromkeys(read_totals(connection), zeros) | self._true_totals(connection)
        connection.executemany(self._insert, [(policy, *figures) for policy, figures in policies.items()])


def _nonzero(totals: dict[int, tuple[int, ...]]) -> dict[int, tuple[int, ...]]:
    return {policy: figures for policy, figures in totals.items() if any(figures)}


DATABASES_PER_STEP: Final = 10


class DatabaseAuditor(Generic[Row]):
    """A worker: each step reads up to DATABASES_PER_STEP databases."""

    name: str
    databases_per_step: Final = DATABASES_PER_STEP

    def __init__(
        self,
        schema: TableSchema[Row],
        cluster: Cluster,
        devices: DeviceRoot,
        runtime: Runtime,
        recon: Recon,
    ) -> None:
        self._folder = schema.folder
        self._devices = devices
        self._runtime = runtime
        self._store = DatabaseStore(schema, cluster, devices, runtime, open_max=1)
        self._audit = Audit(schema, cluster)
        self._report = PassReport(self.name, recon, runtime)
        self._walk: Walk | None = None

    @abstractmethod
    def totals_changed(self, location: DatabaseLocation) -> None:
        """The totals of a database have just been corrected."""

    def step(self) -> Step:
        """The next few databases; IDLE at the end of a pass."""
        if self._walk is None:
            self._report.begin()
            self._walk = Walk(self._devices, self._folder, self._runtime)
        locations = self._walk.some(DATABASES_PER_STEP)
        if not locations:
            self._walk = None
            self._report.end()
            return Step.IDLE
        for location in locations:
            self._look_at(location)
        self._report.progress(self._walk.done, self._walk.total)
        return Step.BUSY

    def _look_at(self, location: DatabaseLocation) -> None:
        try:
            self._report.count("sound" if self._is_right(location) else "recounted")
        except DatabaseAbsent:
            return  # deleted meanwhile, or about to be
        except DatabaseCorrupt:
            self._report.count("quarantined")  # by the store, which has logged why
        except (DatabaseBusy, DatabaseFailed, OSError) as error:
            self._report.count("failed")
            self._runtime.log.warning("database not audited", file=location.file, reason=str(error))

    def _is_right(self, location: DatabaseLocation) -> bool:
        """Whether nothing had to be corrected. Raises DatabaseCorrupt once it is in quarantine."""
        check = partial(self._audit.check, location)
        try:
            right = self._store.threads_of(location).call(peek, location.file, check)
        except DatabaseCorrupt:
            right = None  # once more, with the locks that others respect
        if right:
            return True
        with self._store.opened(location) as database:
            if database.read(check, long=True):
                return True
            self._audit.recount(database)
        self._runtime.log.error("totals of a database were wrong", file=location.file)
        self.totals_changed(location)
        return False
