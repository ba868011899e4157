"""What the simulated calls hand out: open files, mount points, the entries of a directory."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

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
