"""Giving up a database without losing what others write to it meanwhile.

Other processes may have the file open, and would go on writing to it after it was unlinked. So it is first marked, in a
transaction: its row in `resource` goes. That takes the write lock, so every write has come before, and is then seen
here and stops the removal, or comes after, finds the mark, and looks for the database anew. The mark is durable before
the folder is moved away, database and log in one step; a crash in between leaves a marked database, which the next
pass finishes.

Who gives up a replica relies on others that confirmed to hold all of it. Two that give up theirs at the same time, each
relying on the other (their rings may differ), would lose both: so a replica that confirms counts the promise, and is
not given up itself in the pass in which it made one.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from math import inf
from typing import Final

from objstore.db.connection import DatabaseRemoved
from objstore.db.location import Place
from objstore.db.store import TEMPORARY_FOLDER, AnyStore
from objstore.db.summary import Summary, summary_of
from objstore.runtime import Runtime
from objstore.system import files, locks

REMOVED_PREFIX: Final = "removed-"
ABANDONED_SECONDS: Final = 86_400.0  # nobody takes so long to receive a database
LOCK_NAME: Final = "removal.lock"
# Rows change when they are merged, metadata too: all that a summary says but its sync points, which lose nothing.
Unchanged = Callable[[Summary], bool]


def same_as(before: Summary) -> Unchanged:
    """Whether nothing was written, promised or learnt since."""

    def check(now: Summary) -> bool:
        return (
            now.id == before.id
            and now.sequence == before.sequence
            and now.promises == before.promises
            and now.same_state(before)
        )

    return check


class Remover:
    """Removes databases of one kind."""

    def __init__(self, store: AnyStore, runtime: Runtime) -> None:
        self._store = store
        self._runtime = runtime

    def remove(self, place: Place, allowed: Unchanged) -> bool:
        """Remove it if that is still allowed when nobody can write to it. Raises as Database.write, LockTimeout."""

        def mark(connection: sqlite3.Connection) -> bool:
            if not allowed(summary_of(connection)):
                return False
            connection.execute("DELETE FROM resource")
            return True

        with locks.locked(self._lock(place)):
            try:
                with self._store.opened(place) as database:
                    if not database.write(mark):
                        return False
            except DatabaseRemoved:
                pass  # the mark of a pass that was broken off
            self._move_away(place)
        return True

    def finish(self, place: Place) -> None:
        """Move away a database that was found marked."""
        self.remove(place, lambda _: False)

    def clean(self, root: str, now: float) -> None:
        """Remove from a device what crashes left: removed databases, copies that were never installed. Blocks."""
        folder = f"{root}/{TEMPORARY_FOLDER}"
        for name in files.list_directory(folder):
            path = f"{folder}/{name}"
            if name.startswith(REMOVED_PREFIX):
                shutil.rmtree(path, ignore_errors=True)
            elif ".db." in name and _written(path) < now - ABANDONED_SECONDS:
                files.unlink_quietly(path)

    def _lock(self, place: Place) -> str:
        """Of the device: one that was marked is moved by one process, and no new one in its place by another."""
        folder = f"{place.root}/{TEMPORARY_FOLDER}"
        files.make_directories(folder)
        return f"{folder}/{LOCK_NAME}"

    def _move_away(self, place: Place) -> None:
        target = f"{place.root}/{TEMPORARY_FOLDER}/{REMOVED_PREFIX}{place.hash}"
        self._runtime.threads.call(_move_away, place.directory, target)
        self._runtime.log.info("database removed", file=place.file)


def _written(path: str) -> float:
    try:
        return os.stat(path).st_mtime
    except FileNotFoundError:
        return inf  # just installed


def _move_away(directory: str, target: str) -> None:
    moved = files.move_aside(directory, target)
    for name in files.list_directory(moved):
        files.unlink_quietly(f"{moved}/{name}")
    files.remove_empty_directory(moved)
    # The folders of the suffix and the partition, if nothing else is in them.
    with suppress(OSError):
        os.rmdir(os.path.dirname(directory))
        os.rmdir(os.path.dirname(os.path.dirname(directory)))
