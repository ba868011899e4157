"""The auditor and the replicator of container databases; the replicator also queues objects in the wrong policy."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from functools import partial
from typing import Final

from objstore.config.sections import DatabaseReplicatorConfig
from objstore.container.queue import ACCOUNT, Misplaced, misplaced
from objstore.container.reports import last_report, leave_report_mark, report_of
from objstore.container.rows import ContainerSchema
from objstore.db.auditor import DatabaseAuditor
from objstore.db.info import read_status, read_totals
from objstore.db.location import DatabaseLocation
from objstore.db.replicator import DatabaseReplicator
from objstore.db.schema import TOMBSTONE
from objstore.db.status import Incarnation
from objstore.db.syncing import LocalReplica
from objstore.direct import Direct
from objstore.paths import ResourcePath
from objstore.ring.daemon_context import DaemonContext
from objstore.rows import ObjectRow, encode_rows


class ContainerAuditor(DatabaseAuditor[ObjectRow]):
    name: str = "container-auditor"

    def __init__(self, context: DaemonContext) -> None:
        cluster = context.cluster
        schema = ContainerSchema(cluster.limits)
        super().__init__(schema, cluster, context.devices, context.runtime, context.recon)

    def totals_changed(self, location: DatabaseLocation) -> None:
        """Have the updater report it."""
        leave_report_mark(location, self._runtime.threads)


# Of one container in one pass: memory and the queue's own container are spared, the rest comes in the next.
QUEUED_ROWS_MAX: Final = 10_000
ROWS_PER_REQUEST: Final = 500


class ContainerReplicator(DatabaseReplicator[ObjectRow]):
    name: str = "container-replicator"

    def __init__(self, config: DatabaseReplicatorConfig, context: DaemonContext) -> None:
        schema = ContainerSchema(context.cluster.limits)
        super().__init__(
            config,
            schema,
            context.cluster,
            context.devices,
            lambda: context.rings.container,
            context.transport,
            context.runtime,
            context.recon,
            context.is_mine,
        )
        self._direct = Direct(context.transport, context.cluster.hasher, config.node_timeout)
        self._rings = context.rings
        self._columns = ", ".join(("name", "deleted", "sequence", *schema.columns))
        self._row = schema.row

    def settled(self, connection: sqlite3.Connection) -> bool:
        """Whether its account has been told of the deletion."""
        return last_report(connection) == report_of(read_status(connection), read_totals(connection))

    def totals_changed(self, location: DatabaseLocation) -> None:
        """Have the updater report it."""
        leave_report_mark(location, self.runtime.threads)

    def synced(self, replica: LocalReplica) -> None:
        """Queue the rows of other policies than the container's that have not been queued yet.

        A deleted container has none: its next incarnation, maybe under their policy, looks at all rows again.
        """
        summary, path = replica.summary, replica.location.path
        gone = self.schema.is_gone(summary.status, summary.row_count)
        all_queued = summary.queued >= summary.sequence or set(summary.policies) <= {summary.status.policy_index}
        if gone or all_queued or path.account == ACCOUNT:
            return
        with self.store.opened(replica.location) as database:
            incarnation, rows, upto = database.read(self._misplaced_rows, long=True)
            now = self.runtime.clock.timestamp()
            found = [misplaced(path, incarnation, row, now) for row in rows]
            if self._queue([entry for entry in found if entry is not None]):
                database.write(partial(_note_queued, incarnation, upto))
            else:
                self.runtime.log.warning("misplaced objects not queued", file=replica.location.file)

    def _misplaced_rows(self, connection: sqlite3.Connection) -> tuple[Incarnation, list[ObjectRow], int]:
        """The container's incarnation, some of the rows to be queued, and up to which sequence that is."""
        incarnation = read_status(connection).incarnation
        queued, sequence = connection.execute("SELECT queued, sequence FROM resource").fetchone()
        found = connection.execute(
            f"SELECT {self._columns} FROM row WHERE sequence > ? AND policy_index != ? ORDER BY sequence LIMIT ?",
            (queued, incarnation.policy_index, QUEUED_ROWS_MAX),
        ).fetchall()
        rows = [self._row(name, deleted == TOMBSTONE, values) for name, deleted, _, *values in found]
        return incarnation, rows, found[-1][2] if len(found) == QUEUED_ROWS_MAX else sequence

    def _queue(self, entries: Sequence[Misplaced]) -> bool:
        """Whether a quorum of each queue's servers has all of them."""
        by_queue: dict[ResourcePath, list[ObjectRow]] = {}
        for entry in entries:
            by_queue.setdefault(entry.queue, []).append(entry.row)
        return all(
            self._send(queue, rows[start : start + ROWS_PER_REQUEST])
            for queue, rows in by_queue.items()
            for start in range(0, len(rows), ROWS_PER_REQUEST)
        )

    def _send(self, queue: ResourcePath, rows: Sequence[ObjectRow]) -> bool:
        replies = self._direct.update(self._rings.container, queue, encode_rows(rows))
        return len(replies.with_status(2)) >= replies.quorum


def _note_queued(incarnation: Incarnation, upto: int, connection: sqlite3.Connection) -> None:
    # It may have got into another incarnation meanwhile, in which nothing is queued yet.
    if read_status(connection).incarnation == incarnation:
        connection.execute("UPDATE resource SET queued = max(queued, ?)", (upto,))
