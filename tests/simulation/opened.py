"""What the simulated calls hand out: open files, mount points, the entries of a directory."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from objstore.system import locks
from tests.simulation.disk import SimulatedDisk
from tests.simulation.hub import Owner


@dataclass(eq=False, slots=True)
class Opened:
    """An open file or directory of a device."""

    disk: SimulatedDisk
    inode: int
    path: str
    owner: Owner | None
    is_directory: bool


class OpenedElsewhere:
    """Files that nodes have opened and that lie on none of their devices, by descriptor."""

    def __init__(self) -> None:
        self._files: dict[int, tuple[Owner, str]] = {}

    def opened(self, descriptor: int, owner: Owner | None, path: str) -> None:
        """`descriptor` is now this file's, if it belongs to a node."""
        self.closed(descriptor)
        if owner is not None:
            self._files[descriptor] = owner, path

    def closed(self, descriptor: int) -> None:
        self._files.pop(descriptor, None)

    def path_of(self, descriptor: int) -> str:
        """The path of an open file; "" if it is none of a node's."""
        return self._files[descriptor][1] if descriptor in self._files else ""

    def let_go(self, owner: Owner) -> None:
        """A node has died: its locks are free."""
        for descriptor in [each for each, (holder, _) in self._files.items() if holder is owner]:
            self.closed(descriptor)
            unlock(descriptor)


def unlock(descriptor: int) -> None:
    """Free the lock of a file whose process has ended."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_UN)
        locks.unlock_range(descriptor, 0, length=0)
    except OSError:
        pass  # a file object has closed it


@dataclass(eq=False, slots=True)
class Space:
    """What statvfs answers."""

    f_blocks: int
    f_bfree: int
    f_bavail: int
    f_frsize: int = 4096
    f_bsize: int = 4096
    f_files: int = 10**9
    f_ffree: int = 10**9
    f_favail: int = 10**9


class SimulatedPaths:
    """Stands for os.path."""

    def __init__(self, disk_of: Callable[[Any], SimulatedDisk | None]) -> None:
        self._disk_of = disk_of

    def __getattr__(self, name: str) -> Any:
        return getattr(os.path, name)

    def ismount(self, path: str) -> bool:
        """A device is mounted if its folder is there."""
        disk = self._disk_of(path)
        return os.path.isdir(path) if disk is not None else os.path.ismount(path)


class Scan:
    """What scandir returns."""

    def __init__(self, entries: list[os.DirEntry[str]]) -> None:
        self._entries = iter(entries)

    def __iter__(self) -> Iterator[os.DirEntry[str]]:
        return self._entries

    def __next__(self) -> os.DirEntry[str]:
        return next(self._entries)

    def __enter__(self) -> Scan:
        return self

    def __exit__(self, *_: object) -> None:
        self._entries = iter(())

    def close(self) -> None:
        self._entries = iter(())
