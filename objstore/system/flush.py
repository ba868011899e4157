"""Group commit: makes what many requests wrote durable with few flushes of the disk.

A caller has written files and directories through the page cache and asks for them to be on stable storage. A thread of
that filesystem takes all callers that wait, flushes once, and lets them go; who comes while a round is under way waits
for the next. For a single descriptor that is fsync(2); for more, one syncfs(2).

A file that has no name yet need not be durable by itself: it is enough that its name cannot be durable without it.
Where the filesystem's journal commits in order (ext4, XFS) `write_out` sees to that without a commit of its own. It
waits until the file's pages are on the disk. By then the journal holds where they lie, so the transaction that makes
the name durable comes after it, and flushes the disk's cache before it counts. Elsewhere `write_out` is a flush.

syncfs reports a failed write once to each descriptor, and a new descriptor does not learn of a failure that another
process has been told of already. So each file of the round is asked besides whether its own data failed.
"""

from __future__ import annotations

import ctypes
import os
import queue
import stat
import threading
from collections.abc import Callable, Sequence
from typing import Final

from objstore.system import concurrency
from objstore.system.concurrency import Event

FLUSH_TIMEOUT_SECONDS: Final = 60.0
# Filesystems whose journal commits transactions in the order in which they were made.
ORDERED_FILESYSTEMS: Final = frozenset(("ext4", "xfs"))
MOUNTS: Final = "/proc/self/mountinfo"

# From linux/fs.h.
_WAIT_BEFORE: Final = 1
_WRITE: Final = 2
_WAIT_AFTER: Final = 4

_libc = ctypes.CDLL(None, use_errno=True)
_libc.sync_file_range.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)


def _syncfs(descriptor: int) -> None:
    if _libc.syncfs(descriptor) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _sync_file_range(descriptor: int, flags: int) -> None:
    """The whole file. Raises OSError, also if writing it back has failed since it was opened, whoever was told."""
    if _libc.sync_file_range(descriptor, 0, 0, flags) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


class Flusher:
    """Makes written files durable, with two threads per filesystem. They start with the first call, after a fork."""

    def __init__(self) -> None:
        self._disks: dict[int, _Disk] = {}
        self._hub: concurrency.ChannelHub | None = None

    def flush(self, descriptor: int, everything: bool = False) -> None:
        """Wait until all that was written to this file or directory is on stable storage.

        With `everything`, so is all that was written to its filesystem before. The descriptor stays open until this
        returns. Raises OSError when the disk failed, and WaitTimeout when it does not answer; in both cases nothing may
        be acknowledged.
        """
        status = os.fstat(descriptor)
        caller = _Caller(descriptor, everything, stat.S_ISREG(status.st_mode))
        self._disk(status.st_dev).commits.take(caller)

    def write_out(self, descriptor: int) -> None:
        """Wait until no name that this file is given from now on can be durable without its bytes and attributes.

        Raises as `flush` does.
        """
        disk = self._disk(os.fstat(descriptor).st_dev)
        caller = _Caller(descriptor, False, True)
        (disk.writes if disk.ordered else disk.commits).take(caller)

    def _disk(self, number: int) -> _Disk:
        hub = concurrency.current_hub()
        if self._hub is not hub:
            self._hub, self._disks = hub, {}
        disk = self._disks.get(number)
        if disk is None:
            disk = self._disks[number] = _Disk(number, hub)
        return disk


class _Disk:
    """One filesystem."""

    def __init__(self, number: int, hub: concurrency.ChannelHub) -> None:
        self.ordered = filesystem_type(number) in ORDERED_FILESYSTEMS
        self.commits = _Rounds(f"flush-{number}", hub, _commit)
        self.writes = _Rounds(f"write-{number}", hub, _write_out)


class _Caller:
    """One who waits."""

    __slots__ = ("descriptor", "durable", "everything", "failure", "gone", "has_data")

    def __init__(self, descriptor: int, everything: bool, has_data: bool) -> None:
        self.descriptor = descriptor
        self.everything = everything
        self.has_data = has_data
        self.durable: Event[None] = Event()
        self.failure: OSError | None = None
        self.gone = False  # killed, or out of patience: its descriptor may be closed by now


class _Rounds:
    """Callers gather in the hub, and a thread works for all of them, one round at a time."""

    def __init__(self, name: str, hub: concurrency.ChannelHub, work: Callable[[int, Sequence[_Caller]], None]) -> None:
        """`work` gets a descriptor of its own, a copy of the first caller's; what it raises fails all of the round."""
        self._hub = hub
        self._work_on = work
        self._waiting: list[_Caller] = []
        self._begun = False  # a round is under way, or about to be
        self._rounds: queue.SimpleQueue[tuple[int, list[_Caller]]] = queue.SimpleQueue()
        self._name = name
        self._thread: threading.Thread | None = None

    def take(self, caller: _Caller) -> None:
        """Return when a round that began after this call has ended."""
        self._waiting.append(caller)
        if not self._begun:
            self._begun = True
            # Not at once: others who are about to call, in this turn of the hub, come along.
            concurrency.call_soon(self._begin)
        try:
            caller.durable.wait(FLUSH_TIMEOUT_SECONDS)
        finally:
            caller.gone = True

    def _begin(self) -> None:
        callers = [caller for caller in self._waiting if not caller.gone]
        self._waiting = []
        if not callers:
            self._begun = False
            return
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name=self._name, daemon=True)
            self._thread.start()
        try:
            # A caller that is killed meanwhile closes its own descriptor.
            self._rounds.put((os.dup(callers[0].descriptor), callers))
        except OSError as error:  # out of descriptors
            self._begun = False
            for caller in callers:
                caller.durable.fail(error)

    def _work(self) -> None:
        while True:
            self._run(*self._rounds.get())

    def _run(self, descriptor: int, callers: list[_Caller]) -> None:
        # In a function of its own, so that an idle thread keeps nothing of its last round alive.
        try:
            self._work_on(descriptor, callers)
        except OSError as error:
            for caller in callers:
                caller.failure = error
        concurrency.call_soon_from_thread(self._hub, self._end, descriptor, callers)

    def _end(self, descriptor: int, callers: list[_Caller]) -> None:
        os.close(descriptor)
        for caller in callers:
            if caller.failure is None:
                caller.durable.set()
            else:
                failure = caller.failure
                caller.durable.fail(OSError(failure.errno, f"flush failed: {failure.strerror}"))
        # After those just woken have run, who may have more to flush.
        concurrency.call_soon(self._begin)


def _commit(descriptor: int, callers: Sequence[_Caller]) -> None:
    if len(callers) == 1 and not callers[0].everything:
        os.fsync(descriptor)
        return
    _syncfs(descriptor)
    for caller in callers:
        if caller.has_data and not caller.gone:
            _sync_file_range(caller.descriptor, _WAIT_BEFORE)


def _write_out(_: int, callers: Sequence[_Caller]) -> None:
    # All begin before the first is waited for, so that the disk works on them at the same time.
    for flags in (_WRITE, _WAIT_BEFORE | _WRITE | _WAIT_AFTER):
        for caller in callers:
            if caller.failure is None and not caller.gone:
                try:
                    _sync_file_range(caller.descriptor, flags)
                except OSError as error:
                    caller.failure = error


def filesystem_type(number: int) -> str:
    """The type of the mounted filesystem with this device number (st_dev), "" if that is not to be found out."""
    wanted = f"{os.major(number)}:{os.minor(number)}"
    with open(MOUNTS, encoding="utf-8", errors="surrogateescape") as mounts:
        for line in mounts:
            mount, _, filesystem = line.partition(" - ")
            if mount.split(" ", 3)[2] == wanted:
                return filesystem.split(" ", 1)[0]
    return ""
