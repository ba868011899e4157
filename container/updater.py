"""The container updater: tells accounts how many objects and bytes their containers hold."""

from __future__ import annotations

import sqlite3
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Final

from objstore.config.container import ContainerUpdaterConfig
from objstore.container.reports import (
    AccountReplica,
    AccountReporter,
    ContainerReport,
    ReportResult,
    clear_report_mark,
    forget_report,
    last_report,
    leave_report_mark,
    marked_containers,
    report_of,
    store_report,
)
from objstore.container.rows import ContainerSchema
from objstore.daemon import Step
from objstore.db.connection import DatabaseAbsent, DatabaseBusy, DatabaseCorrupt, DatabaseFailed, DatabaseRemoved
from objstore.db.database import Database
from objstore.db.info import read_status, read_totals
from objstore.db.location import DatabaseLocation, Walk, device_roots
from objstore.db.reports import PassReport
from objstore.db.store import DatabaseStore
from objstore.paths import ResourcePath
from objstore.quorum import quorum_size
from objstore.rate_limiter import RateLimiter
from objstore.ring.daemon_context import DaemonContext
from objstore.rows import ContainerRow
from objstore.system import concurrency
from objstore.system.concurrency import Task
from objstore.system.threads import HUNG_SECONDS
from objstore.timestamps import Timestamp

# All databases are looked into when the daemon starts and so often after: marks may be lost in a crash. Their accounts
# are then told in any case: they may have been put back from old copies.
SWEEP_INTERVAL_SECONDS: Final = 86_400.0
# To tell once more after others have told something newer is nearly always enough; else the mark stays.
TELLING_ATTEMPTS: Final = 3
# Accounts left alone at a time; if even more fail, all of them are tried again before their time.
SUPPRESSED_MAX: Final = 10_000


@dataclass
class _Pass:
    """A sweep if one is due, and then what is marked."""

    sweep: Walk | None
    swept: int = 0  # partitions that the sweep went through
    marked: deque[DatabaseLocation] | None = None  # None until the sweep is over
    marks: int = 0

    @property
    def done(self) -> int:
        """How far it is, in partitions of the sweep and marks."""
        if self.sweep is not None:
            return self.sweep.done
        return self.swept + self.marks - len(self.marked or ())

    @property
    def total(self) -> int:
        """How far it is at the end, as far as that is known."""
        return self.sweep.total if self.sweep is not None else self.swept + self.marks


class ContainerUpdater:
    """A worker: each step reports a few containers whose figures have changed."""

    name: str = "container-updater"

    def __init__(self, config: ContainerUpdaterConfig, context: DaemonContext, timeout_seconds: float) -> None:
        """`timeout_seconds` is how long an account server may take to answer."""
        cluster, devices, runtime = context.cluster, context.devices, context.runtime
        self._config = config
        self._hasher = cluster.hasher
        self._devices = devices
        self._rings = context.rings
        self._is_mine = context.is_mine
        self._runtime = runtime
        self._store = DatabaseStore(
            ContainerSchema(cluster.limits), cluster, devices, runtime, open_max=config.concurrency
        )
        self._reporter = AccountReporter(context.transport, timeout_seconds, runtime.log)
        self._report = PassReport(self.name, context.recon, runtime, "containers")
        self._rate = RateLimiter(config.containers_per_second, runtime.clock)
        self._pass: _Pass | None = None
        self._next_sweep = 0.0
        self._suppressed: dict[str, float] = {}  # account -> until when it is left alone, of the monotonic clock

    def step(self) -> Step:
        """Look at as many containers as may be worked on at a time; IDLE once none is left."""
        if self._pass is None:
            self._report.begin()
            self._pass = self._begin()
        current = self._pass
        places = self._next(current)
        if not places:
            self._pass = None
            self._report.end()
            return Step.IDLE
        again = current.sweep is not None
        self._rate.acquire(len(places))
        tasks: list[Task[None]] = [concurrency.spawn(self._look, place, again) for place in places]
        for task in tasks:
            task.wait()
        self._report.progress(current.done, current.total)
        return Step.BUSY

    def _begin(self) -> _Pass:
        """With a sweep if one is due."""
        now = self._runtime.clock.now()
        if now < self._next_sweep:
            return _Pass(None)
        sweep = Walk(self._devices, ContainerSchema.folder, self._runtime)
        self._next_sweep = now + SWEEP_INTERVAL_SECONDS
        return _Pass(sweep)

    def _next(self, current: _Pass) -> list[DatabaseLocation]:
        """The next ones of the pass, [] at its end."""
        if (sweep := current.sweep) is not None:
            if places := sweep.some(self._config.concurrency):
                return places
            current.sweep, current.swept = None, sweep.total
        if current.marked is None:
            current.marked = deque(self._marked_containers())
            current.marks = len(current.marked)
        return [current.marked.popleft() for _ in range(min(len(current.marked), self._config.concurrency))]

    def _marked_containers(self) -> Iterator[DatabaseLocation]:
        for root in device_roots(self._devices):
            try:
                yield from self._runtime.threads.of(root).call_within(HUNG_SECONDS, marked_containers, root)
            except OSError as error:  # the other devices have their turn all the same
                self._report.count("failed")
                self._runtime.log.error("device failed", path=root, error=str(error))

    def _look(self, place: DatabaseLocation, again: bool) -> None:
        try:
            clear_report_mark(place, self._runtime.threads)
            if not self._is_primary(place):
                # It gives all that it has to the primaries, which then tell; what it lacks it will never get.
                self._report.count("handoff")
                return
            with self._store.opened(place) as database:
                told = self._report_to_account(database, again)
        except DatabaseAbsent:
            self._report.count("gone")
            return
        except (DatabaseBusy, DatabaseCorrupt, DatabaseFailed, OSError) as error:
            self._runtime.log.warning("container not reported", file=place.file, reason=str(error))
            self._report.count("kept")
            told = False
        if not told:
            leave_report_mark(place, self._runtime.threads)

    def _is_primary(self, place: DatabaseLocation) -> bool:
        ring, device = self._rings.container, place.device_name
        if int(place.partition) >= ring.partition_count:
            return False
        return any(node.device == device and self._is_mine(node) for node in ring.primaries(int(place.partition)))

    def _report_to_account(self, database: Database, again: bool) -> bool:
        """Whether the account now knows how the container stands.

        The newest figures win. Were that left to the clocks alone, one that is ahead by hours would have the last word
        for hours. So a report that met newer totals is repeated: totals read after them get a later timestamp.
        """
        stats_timestamp = self._runtime.clock.timestamp()
        for _ in range(TELLING_ATTEMPTS):
            path, report, reported = database.read(_read)
            if report == reported and not again:
                self._report.count("unchanged")
                return True
            if self._is_suppressed(path.account):
                self._report.count("suppressed")
                return False
            told = self._tell(path, report.row(path.container, stats_timestamp.internal))
            if sum(status // 100 == 2 for status in told.statuses) < quorum_size(len(told.statuses)):
                self._suppress(path.account)
                break
            if not told.outdone_by:
                database.write(partial(store_report, report=report))
                self._report.count("told")
                return True
            stats_timestamp, again = Timestamp(Timestamp.parse(told.outdone_by).ticks + 1), True
        # The figures may become again what they were at the last report, and one server has others now.
        database.write(forget_report)
        self._report.count("kept")
        return False

    def _is_suppressed(self, account: str) -> bool:
        return self._suppressed.get(account, 0.0) > self._runtime.clock.monotonic()

    def _suppress(self, account: str) -> None:
        """Leave servers alone that did not take a report: other reports to them are likely to fail, too."""
        now = self._runtime.clock.monotonic()
        if len(self._suppressed) >= SUPPRESSED_MAX:
            still = {name: until for name, until in self._suppressed.items() if until > now}
            self._suppressed = still if len(still) < SUPPRESSED_MAX else {}
        self._suppressed[account] = now + self._config.account_suppression_time

    def _tell(self, path: ResourcePath, row: ContainerRow) -> ReportResult:
        ring = self._rings.account
        partition = ring.partition_of(self._hasher.digest(path.account_path))
        return self._reporter.tell(
            [AccountReplica(node, partition) for node in ring.primaries(partition)], path.account, row
        )


def _read(connection: sqlite3.Connection) -> tuple[ResourcePath, ContainerReport, ContainerReport]:
    """Read the container's path, its present report and its last report. Raises DatabaseRemoved."""
    found = connection.execute("SELECT account, container FROM resource").fetchone()
    if found is None:
        raise DatabaseRemoved
    report = report_of(read_status(connection), read_totals(connection))
    return ResourcePath(*found), report, last_report(connection)
