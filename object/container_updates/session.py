"""The mark of a process that writes objects: it stays when the process ends before its container updates are sent.

One file for each process, RECON/object-writers/NAME. The process keeps it locked, and removes it when it has ended all
its writes; after a kill it stands there unlocked. Its time of modification is at most TOUCH_SECONDS older than the end.
"""

from __future__ import annotations

import os
from contextlib import ExitStack, suppress
from random import Random
from typing import Final

from objstore.logs import Logger
from objstore.system import concurrency, files
from objstore.system.concurrency import Event, WaitTimeout
from objstore.system.locks import LockTimeout, locked

FOLDER: Final = "object-writers"
TOUCH_SECONDS: Final = 10.0
LOCK_SECONDS: Final = 5.0


class WriterSession:
    """The mark of one process.

    `unfinished` counts requests under way, and writes whose container updates were neither acknowledged nor queued.
    """

    def __init__(self, directory: str, devices_root: str, random: Random, log: Logger) -> None:
        """`directory` is where the daemons of the server report; the process writes on devices below `devices_root`."""
        self._directory = f"{directory}/{FOLDER}"
        self._content = devices_root.encode()
        self._random = random
        self._log = log
        self._path = ""
        self._held = ExitStack()
        self._ended: Event[None] = Event()
        self.unfinished = 0

    def begin(self) -> None:
        """Make the mark, in the process that will write. Without one the server works all the same."""
        path = f"{self._directory}/{os.getpid()}-{self._random.getrandbits(64):016x}"
        try:
            files.make_directories(self._directory)
            descriptor = self._held.enter_context(locked(path, LOCK_SECONDS))
            # Only now: a mark without content is none yet, so nobody takes it for one that was left.
            files.write_all(descriptor, self._content)
        except (OSError, LockTimeout) as error:
            self._held.close()
            self._log.warning("after a kill, listings will not be completed", path=path, reason=str(error))
            return
        self._path = path
        concurrency.spawn(self._touch_until_ended)

    def _touch_until_ended(self) -> None:
        while True:
            try:
                return self._ended.wait(TOUCH_SECONDS)
            except WaitTimeout:
                with suppress(OSError):
                    os.utime(self._path)

    def end(self) -> None:
        """The process answers no requests any more. The mark goes, unless a request was cut off."""
        self._ended.set()
        if self._path and not self.unfinished:
            with suppress(OSError):
                files.unlink_quietly(self._path)
        self._held.close()


def left_marks(directory: str, devices_root: str) -> dict[str, float]:
    """The marks of processes that are no more, and when each was last known to live. Blocks; raises OSError."""
    found = {}
    folder = f"{directory}/{FOLDER}"
    for name in files.list_directory(folder):
        path = f"{folder}/{name}"
        with suppress(LockTimeout, FileNotFoundError), open(path, "rb") as file:
            if file.read() == devices_root.encode():
                with locked(path, 0.0):
                    found[path] = os.stat(path).st_mtime
    return found
