"""A disk with a page cache, over real files: what was not flushed may be lost, torn or cut when its node crashes.

Names, and attributes, go through a journal in order, as on ext4 and XFS: a crash keeps some beginning of what the
journal holds beyond its last flush. Content knows no order: of every file not flushed, each block is kept or lost on
its own.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Final

BLOCK_BYTES: Final = 4096
# By then the system writes everything back by itself.
WRITEBACK_SECONDS: Final = 30.0


@dataclass(eq=False, slots=True)
class Change:
    """A change of names or attributes that is not durable yet."""

    number: int
    undo: Callable[[], None]
    forget: Callable[[], None] | None
    directory: str
    directory_mtime: int
    at: float


@dataclass(eq=False, slots=True)
class Unflushed:
    """A file with content that is not durable yet: a descriptor of our own, and what is durable."""

    descriptor: int
    durable: bytes
    since: float
    version: int = 0


@dataclass(eq=False)
class SimulatedDisk:
    """One device of one node. `state` is "", "full", "readonly", "failing" or "unmounted"."""

    node: str
    name: str
    path: str
    undo_folder: str
    random: Random
    state: str = ""
    failure_rate: float = 0.0
    number: int = 0
    durable: int = 0
    journal: deque[Change] = field(default_factory=deque)
    newest: dict[int, int] = field(default_factory=dict)  # inode -> its last change
    unflushed: dict[int, Unflushed] = field(default_factory=dict)
    lost: int = 0  # what crashes have undone, for the trace

    @property
    def away(self) -> str:
        """Where it lies while it is not mounted."""
        return f"{self.undo_folder}.away"

    @property
    def place(self) -> str:
        """Where it lies now."""
        return self.away if self.state == "unmounted" else self.path

    # What the system calls report

    def refuse(self, writing: bool) -> None:
        """Raises OSError as the state of the device demands."""
        if not self.state:
            return
        if writing and self.state == "full":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if writing and self.state == "readonly":
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        if writing and self.state == "unmounted":
            # Where it was mounted is a folder that the servers must not write to.
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        if self.state == "failing" and self.random.random() < self.failure_rate:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    def changed(
        self,
        now: float,
        directory: str,
        directory_mtime: int,
        inodes: tuple[int, ...],
        undo: Callable[[], None],
        forget: Callable[[], None] | None = None,
    ) -> None:
        """A name or attribute has changed; `forget` is called once it is durable."""
        self.number += 1
        self.journal.append(Change(self.number, undo, forget, directory, directory_mtime, now))
        for inode in inodes:
            self.newest[inode] = self.number

    def writing(self, inode: int, descriptor: int, now: float, new: bool) -> None:
        """The file's content is about to change."""
        known = self.unflushed.get(inode)
        if known is not None:
            known.version += 1
            return
        own = os.open(f"/proc/self/fd/{descriptor}", os.O_RDWR | os.O_CLOEXEC)
        durable = b"" if new else _content(own)
        self.unflushed[inode] = Unflushed(own, durable, now)

    def position(self, inode: int) -> tuple[int, int]:
        """What a flush of the file or directory that begins now will make durable."""
        known = self.unflushed.get(inode)
        return self.newest.get(inode, 0), known.version if known is not None else -1

    def flushed(self, inode: int, position: tuple[int, int]) -> None:
        """A flush that began at `position` has ended."""
        self._commit(position[0])
        known = self.unflushed.get(inode)
        if known is not None and known.version == position[1]:
            self._drop(inode)

    def flushed_all(self, number: int) -> None:
        """A flush of everything, names up to `number`, has ended."""
        self._commit(number)
        for inode in list(self.unflushed):
            self._drop(inode)

    def write_back(self, now: float) -> None:
        """What the system does by itself in the background."""
        if self.journal and self.journal[0].at < now - WRITEBACK_SECONDS:
            number = self.durable
            for change in self.journal:
                if change.at >= now - WRITEBACK_SECONDS:
                    break
                number = change.number
            self._commit(number)
        for inode in [inode for inode, each in self.unflushed.items() if each.since < now - WRITEBACK_SECONDS]:
            self._drop(inode)

    def _commit(self, number: int) -> None:
        journal = self.journal
        while journal and journal[0].number <= number:
            change = journal.popleft()
            if change.forget is not None:
                change.forget()
        self.durable = max(self.durable, number)
        if not journal:
            self.newest.clear()

    def _drop(self, inode: int) -> None:
        os.close(self.unflushed.pop(inode).descriptor)

    # What a crash does

    def crash(self, power: bool) -> str:
        """Lose part of what was not flushed, if the power went; says what."""
        lost = self._lose() if power else ""
        self._commit(self.number)
        for inode in list(self.unflushed):
            self._drop(inode)
        self.newest.clear()
        return lost

    def _lose(self) -> str:
        choice = self.random.random()
        kept = self.random.randint(self.durable, self.number)
        if choice < 0.75:  # mostly all is lost that was not flushed
            kept = self.durable if choice < 0.6 else self.number
        undone = 0
        while self.journal and self.journal[-1].number > kept:
            change = self.journal.pop()
            change.undo()
            if os.path.isdir(change.directory):
                os.utime(change.directory, ns=(change.directory_mtime, change.directory_mtime))
            undone += 1
        torn = sum(tear(each.descriptor, each.durable, self.random) for each in self.unflushed.values())
        self.lost += undone + torn
        return f"{self.name}: {undone} names lost, {torn} files torn" if undone or torn else ""

    # What an operator does

    def wipe(self) -> None:
        """A new, empty device takes its place."""
        self.crash(power=False)
        for name in os.listdir(self.path):
            shutil.rmtree(f"{self.path}/{name}", ignore_errors=True)


def _content(descriptor: int) -> bytes:
    return os.pread(descriptor, os.fstat(descriptor).st_size, 0)


def torn(durable: bytes, written: bytes, random: Random) -> bytes:
    """What may be on a disk that has `durable` and was to have `written`."""
    choice = random.random()
    if choice < 0.5:
        return durable
    if choice < 0.6:
        return written
    length = random.choice((len(durable), len(written), random.randint(0, max(len(durable), len(written)))))
    blocks = []
    for start in range(0, length, BLOCK_BYTES):
        source = random.choice((durable, written))
        blocks.append(source[start : start + BLOCK_BYTES].ljust(BLOCK_BYTES, b"\0"))
    return b"".join(blocks)[:length]


def tear(descriptor: int, durable: bytes, random: Random) -> bool:
    """Do that to a file; says whether anything was lost."""
    status = os.fstat(descriptor)
    if not status.st_nlink:
        return False
    written = _content(descriptor)
    left = torn(durable, written, random)
    if left == written:
        return False
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, left, 0)
    os.utime(descriptor, ns=(status.st_mtime_ns, status.st_mtime_ns))
    return True
