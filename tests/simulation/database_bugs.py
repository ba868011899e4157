"""Bugs to be planted in the databases of containers and accounts, and in the daemons that look after them."""

from __future__ import annotations

import sqlite3
from typing import Any, Final

import msgspec

from objstore.account import reaper
from objstore.container import reconciler, rows
from objstore.container import updater as container_updater
from objstore.db import database, merging, removal, replicator, status, syncing
from objstore.rows import encode_rows
from tests.simulation.planting import AFTER_ALL_TIME, Mutant, always, nothing, replace


def rows_are_not_flushed() -> None:
    """A database's log is not flushed after a commit."""
    replace("flush", nothing, database.Database)


def older_rows_win() -> None:
    """A merge keeps the older row."""
    replace("merge_object_rows", lambda one, other: min(one, other, key=lambda row: row.timestamp), rows)


def rows_are_not_pushed() -> None:
    """Replicas of a database that differ are taken for equal."""
    replace("decide", lambda mine, theirs, both_ways: syncing.SyncPlan(), syncing)


def sync_points_go_too_far() -> None:
    """A batch of a few rows counts as all there were, and nobody looks whether the rows are equal after that."""
    real, decide = merging.BatchReader._read_inside, syncing.decide

    def read(self: Any, after: int, limit: int, connection: sqlite3.Connection) -> Any:
        batch = real(self, after, limit, connection)
        return msgspec.structs.replace(batch, upto=batch.sequence)

    def decide_without(mine: Any, theirs: Any, both_ways: bool) -> syncing.SyncPlan:
        plan = decide(mine, theirs, both_ways)
        return syncing.SyncPlan() if plan.strayed else plan

    replace("_read_inside", read, merging.BatchReader)
    replace("decide", decide_without, syncing)


def deletions_of_databases_are_not_merged() -> None:
    """Replicas tell each other of rows only."""
    replace("merge_status", lambda one, other: one, merging, status)


def row_tombstones_are_dropped_early() -> None:
    """A deleted row is forgotten at once, though a replica may still have the row."""
    replace("limit", lambda *_: AFTER_ALL_TIME, removal.Reclaimer)
    real = replicator.DatabaseReplicator._sync_all

    def sync_all(self: Any, subject: Any, answers: Any) -> None:
        real(self, subject, answers)
        if subject.mine is not None:
            self._reclaim(subject, {}, AFTER_ALL_TIME)

    replace("_sync_all", sync_all, replicator.DatabaseReplicator)
    replace("RECLAIM_LOOKS", 10**6, replicator)


def accounts_are_not_told() -> None:
    """Figures of containers stay where they are."""
    replace("_report_to_account", always(True), container_updater.ContainerUpdater)


def reaper_leaves_containers() -> None:
    """A deleted account keeps what it holds."""
    replace("_reap_container", lambda self, path: iter(()), reaper.AccountReaper)


def reconciler_leaves_its_entries() -> None:
    """What has been moved to its policy stays in the queue of what is misplaced."""
    replace("encode_rows", lambda rows: encode_rows([]), reconciler)


DATABASE_BUGS: Final = (
    Mutant(rows_are_not_flushed, 8),
    Mutant(older_rows_win, 8),
    Mutant(rows_are_not_pushed, 8),
    Mutant(sync_points_go_too_far, 20),
    Mutant(deletions_of_databases_are_not_merged, 8),
    Mutant(row_tombstones_are_dropped_early, 8),
    Mutant(accounts_are_not_told, 8),
    Mutant(reaper_leaves_containers, 8),
    Mutant(reconciler_leaves_its_entries, 8),
)
