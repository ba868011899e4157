"""The tasks of a host that are not over: each is a file from before it is begun until its outcome is told."""

from __future__ import annotations

import hashlib
import os
import threading
from collections import deque
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from objstore.compute.protocol import HostTask, TaskOutcome
from objstore.system.files import TEMPORARY_SUFFIX, write_atomically

SUFFIX: Final = ".json"
TOLD_MAX: Final = 1000


class JournaledTask(Struct, frozen=True):
    """A task, and how it ended, if it has."""

    order: int
    task: HostTask
    outcome: TaskOutcome | None = None


class TaskJournal:
    """Threads share it. Every method that changes it raises OSError, and has changed the disk when it returns."""

    def __init__(self, folder: Path) -> None:
        """Reads what an agent left that ended in the midst of its work."""
        self._folder = folder
        self._lock = threading.Lock()
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._entries: dict[str, JournaledTask] = {}
        # An answer that is older than the outcome may bring the task once more.
        self._told: deque[str] = deque(maxlen=TOLD_MAX)
        for path in folder.iterdir():
            if path.name.endswith(TEMPORARY_SUFFIX):
                path.unlink()
            elif path.suffix == SUFFIX:
                entry = msgspec.json.decode(path.read_bytes(), type=JournaledTask)
                self._entries[entry.task.id] = entry
        self._next = max((entry.order for entry in self._entries.values()), default=0) + 1

    def unfinished(self) -> list[HostTask]:
        """In the order in which they came."""
        with self._lock:
            entries = sorted(self._entries.values(), key=lambda entry: entry.order)
        return [entry.task for entry in entries if entry.outcome is None]

    def untold(self, most: int) -> list[TaskOutcome]:
        """Outcomes that the API has not accepted yet."""
        with self._lock:
            entries = sorted(self._entries.values(), key=lambda entry: entry.order)
        return [entry.outcome for entry in entries if entry.outcome is not None][:most]

    def holding(self) -> list[str]:
        """Ids of the tasks that need not be sent again."""
        with self._lock:
            return list(self._entries)

    def begin(self, task: HostTask) -> bool:
        """Take a task; False if it is here already, or was."""
        with self._lock:
            if task.id in self._entries or task.id in self._told:
                return False
            self._write(JournaledTask(self._next, task))
            self._next += 1
            return True

    def end(self, outcome: TaskOutcome) -> None:
        with self._lock:
            entry = self._entries[outcome.task_id]
            self._write(msgspec.structs.replace(entry, outcome=outcome))

    def told(self, outcomes: list[TaskOutcome]) -> None:
        """The API has accepted them."""
        with self._lock:
            for outcome in outcomes:
                if self._entries.pop(outcome.task_id, None) is not None:
                    self._told.append(outcome.task_id)
                    os.unlink(self._path(outcome.task_id))

    def _write(self, entry: JournaledTask) -> None:
        write_atomically(str(self._path(entry.task.id)), msgspec.json.encode(entry))
        self._entries[entry.task.id] = entry

    def _path(self, task_id: str) -> Path:
        # Ids come over the network: a name made of one leads nowhere else.
        return self._folder / (hashlib.sha256(task_id.encode()).hexdigest()[:32] + SUFFIX)
