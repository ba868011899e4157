"""The second name of a new file, in the partition where it will belong once the part power has been increased.

A write does not fail for want of it: until the increase the file is found by its first name, and after it in the former
partition until the relinker has brought it home.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from objstore.logs import Logger
from objstore.object.engine import Location
from objstore.object.file_engine.directories import DirtyDirectories
from objstore.object.file_engine.disk import Disk, OpenFile
from objstore.object.file_engine.layout import hash_directory, suffix_directory

# The relinker removes directories that it finds empty; losing that race this often is not chance.
RACE_ATTEMPTS: Final = 3


class NextPartitionLinker:
    """Makes second names, and counts those that could not be made."""

    def __init__(self, disk: Disk, dirty: DirtyDirectories, log: Logger, count_failure: Callable[[], None]) -> None:
        self._disk = disk
        self._dirty = dirty
        self._log = log
        self._count_failure = count_failure

    def link(self, file: OpenFile, location: Location, name: str) -> str:
        """Name a file in `location.linked` as well; the directory that got the name, "" if none did."""
        if not location.linked:
            return ""
        ahead = Location(location.device, location.policy, location.linked, location.hash, location.name)
        path = hash_directory(ahead)
        try:
            self._link(file, path, suffix_directory(ahead), name)
        except OSError as error:
            self._log.warning("not linked into the next partition", name=location.name, path=path, error=str(error))
            self._count_failure()
            return ""
        return path

    def _link(self, file: OpenFile, path: str, above: str, name: str) -> None:
        for attempt in range(1, RACE_ATTEMPTS + 1):
            made = self._disk.make_directories(path)
            self._dirty.note(made)
            if not made:
                self._disk.touch(above)  # what digests go by: see `suffixes`
            try:
                self._disk.link(file, self._disk.open_directory(path), name)
                return
            except FileExistsError:
                return  # the relinker was faster
            except FileNotFoundError:
                if attempt == RACE_ATTEMPTS:
                    raise
