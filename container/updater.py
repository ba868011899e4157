"""The container updater: tells accounts how many objects and bytes their containers hold."""

from __future__ import annotations

import sqlite3
from collections import deque
from collections.abc import Iterator
from functools import partial
from itertools import chain
from typing import Final

from objstore.container import hints
from objstore.container.reports import Report, Reporter, Target, Told, last_report, report_of, store_report
from objstore.container.rows import ContainerDescription
from objstore.daemon import Step
from objstore.db.connection import DatabaseAbsent, DatabaseBusy, DatabaseCorrupt, DatabaseFailed, DatabaseRemoved
from objstore.db.database import Database
from objstore.db.info import read_status, read_totals
from objstore.db.location import Place
from objstore.db.store import DatabaseStore
from objstore.db.walk import device_roots
from objstore.paths import ResourcePath
from objstore.quorum import quorum_size
from objstore.ring.surroundings import Surroundings
from objstore.rows import ContainerRow
from objstore.system import concurrency
from objstore.system.concurrency import Task
from objstore.timestamps import Timestamp

# All databases are looked into when the daemon starts and so often after: marks may be lost in a crash. Their accounts
# are then told in any case: they may have been put back from old copies.
SWEEP_INTERVAL_SECONDS: Final = 86_400.0
CONCURRENT_MAX: Final = 4
# To tell once more after others have told something newer is nearly always enough; else the mark stays.
TELLING_ATTEMPTS: Final = 3


class ContainerUpdater:
    """A worker: each step reports a few containers whose figures have changed."""

    name: str = "container-updater"

    def __init__(self, surroundings: Surroundings, timeout_seconds: float) -> None:
        """`timeout_seconds` is how long an account server may take to answer."""
        cluster, devices, runtime = surroundings.cluster, surroundings.devices, surroundings.runtime
        self._hasher = cluster.hasher
        self._devices = devices
        self._rings = surroundings.rings
        self._is_mine = surroundings.is_mine
        self._runtime = runtime
        self._store = DatabaseStore(
            ContainerDescription(cluster.limits), cluster, devices, runtime, open_max=CONCURRENT_MAX
        )
        self._reporter = Reporter(surroundings.transport, timeout_seconds, runtime.log)
        self._due: deque[tuple[Place, bool]] = deque()  # with whether to tell what was told before
        self._sweep: Iterator[list[Place]] | None = None
        self._next_sweep = 0.0

    def step(self) -> Step:
        """Report up to CONCURRENT_MAX containers; IDLE once none is left."""
        if not self._due:
            self._due.extend(self._runtime.threads.call(self._find))
        places = [self._due.popleft() for _ in range(min(len(self._due), CONCURRENT_MAX))]
        tasks: list[Task[None]] = [concurrency.spawn(self._report, place, again) for place, again in places]
        for task in tasks:
            task.wait()
        return Step.BUSY if self._due or self._sweep is not None else Step.IDLE

    def _find(self) -> list[tuple[Place, bool]]:
        """The next part of a sweep that is due, else what is marked. Blocks."""
        now = self._runtime.clock.now()
        folder = ContainerDescription.folder
        if now >= self._next_sweep:
            self._next_sweep = now + SWEEP_INTERVAL_SECONDS
            self._sweep = chain.from_iterable(hints.sweep(root, folder) for root in device_roots(self._devices))
        if self._sweep is not None:
            part = next(self._sweep, None)
            if part is not None:
                return [(place, True) for place in part]
            self._sweep = None
        return [(place, False) for root in device_roots(self._devices) for place in hints.marked(root, folder)]

    def _report(self, place: Place, again: bool) -> None:
        hints.unmark(place)
        if not self._is_primary(place):
            # It gives all that it has to the primaries, which then tell; what it lacks it will never get.
            return
        try:
            with self._store.opened(place) as database:
                told = self._told(database, again)
        except DatabaseAbsent:
            return
        except (DatabaseBusy, DatabaseCorrupt, DatabaseFailed, OSError) as error:
            self._runtime.log.warning("container not reported", file=place.file, reason=str(error))
            told = False
        if not told:
            hints.mark(place)

    def _is_primary(self, place: Place) -> bool:
        ring, device = self._rings.container, place.root.rpartition("/")[2]
        if int(place.partition) >= ring.partition_count:
            return False
        return any(node.device == device and self._is_mine(node) for node in ring.primaries(int(place.partition)))

    def _told(self, database: Database, again: bool) -> bool:
        """Whether the account now knows how the container stands.

        The newest figures win. Were that left to the clocks alone, one that is ahead by hours would have the last word
        for hours. So who is outdone reads again and goes beyond: what he reads then is later than what outdid him.
        """
        stats_timestamp = self._runtime.clock.timestamp()
        for _ in range(TELLING_ATTEMPTS):
            path, report, reported = database.read(_read)
            if report == reported and not again:
                return True
            told = self._tell(path, report.row(path.container, stats_timestamp.internal))
            if sum(status // 100 == 2 for status in told.statuses) < quorum_size(len(told.statuses)):
                return False
            if not told.outdone_by:
                database.write(partial(store_report, report=report))
                return True
            stats_timestamp, again = Timestamp(Timestamp.parse(told.outdone_by).ticks + 1), True
        return False

    def _tell(self, path: ResourcePath, row: ContainerRow) -> Told:
        ring = self._rings.account
        partition = ring.partition_of(self._hasher.digest(path.account_path))
        return self._reporter.tell([Target(node, partition) for node in ring.primaries(partition)], path.account, row)


def _read(connection: sqlite3.Connection) -> tuple[ResourcePath, Report, Report]:
    """Whose database it is, how it stands, and what was reported last. Raises DatabaseRemoved."""
    found = connection.execute("SELECT account, container FROM resource").fetchone()
    if found is None:
        raise DatabaseRemoved
    report = report_of(read_status(connection), read_totals(connection))
    return ResourcePath(*found), report, last_report(connection)
