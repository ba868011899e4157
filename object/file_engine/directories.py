"""Which directories hold names that are not durable yet, so that nobody builds on them unknowingly.

A writer that finds a hash directory does not know whether the one who made it has flushed the directory above. This
dirty does, within one process; between processes the order in which a filesystem's journal commits has to do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import count
from typing import Final

from msgspec import structs

from objstore.logs import Logger
from objstore.object.engine import Location
from objstore.object.file_engine.disk import Disk, OpenFile
from objstore.object.file_engine.layout import hash_directory, suffix_directory

# DEVICE, DATA_DIR, PARTITION, SUFFIX: what lies above a hash directory on its device.
LEVELS_ABOVE: Final = 4
# The relinker removes directories that it finds empty; losing that race this often is not chance.
LINK_ATTEMPTS: Final = 3


class DirtyDirectories:
    """Directories with new names, each with the number of the newest one."""

    def __init__(self) -> None:
        self._numbers_of: dict[str, int] = {}
        self._next_number = count()

    def note(self, changed: Iterable[str]) -> None:
        """These directories have got new names."""
        for path in changed:
            self._numbers_of[path] = next(self._next_number)

    def above(self, path: str) -> list[str]:
        """The directories above a hash directory that have names not durable yet."""
        found = []
        for _ in range(LEVELS_ABOVE):
            path = path.rpartition("/")[0]
            if path in self._numbers_of:
                found.append(path)
        return found

    def below(self, path: str) -> list[str]:
        """The directories below one, such as a device, that have names not durable yet."""
        return [each for each in list(self._numbers_of) if each.startswith(f"{path}/")]

    def snapshot(self, paths: Iterable[str]) -> dict[str, int]:
        """The newest name of each, to be kept over a flush."""
        return {path: self._numbers_of[path] for path in paths if path in self._numbers_of}

    def mark_durable(self, snapshot: dict[str, int]) -> None:
        """A flush that began after the snapshot has ended: forget those that got no newer name since."""
        for path, number in snapshot.items():
            if self._numbers_of.get(path) == number:
                del self._numbers_of[path]


class NextPartitionLinker:
    """Gives new files a second name in the partition where they will belong once the part power has been increased.

    A write does not fail for want of it: until the increase the file is found by its first name, and after it in the
    former partition until the relinker has brought it home. What could not be linked is counted.
    """

    def __init__(self, disk: Disk, dirty: DirtyDirectories, log: Logger, count_failure: Callable[[], None]) -> None:
        self._disk = disk
        self._dirty = dirty
        self._log = log
        self._count_failure = count_failure

    def link(self, file: OpenFile, location: Location, name: str) -> str:
        """Name a file in `location.linked` as well; the directory that got the name, "" if none did."""
        if not location.linked:
            return ""
        ahead = structs.replace(location, partition=location.linked, others=(), linked="")
        path = hash_directory(self._disk.path, ahead)
        try:
            self._link(file, path, suffix_directory(self._disk.path, ahead), name)
        except OSError as error:
            self._log.warning("not linked into the next partition", name=location.name, path=path, error=str(error))
            self._count_failure()
            return ""
        return path

    def _link(self, file: OpenFile, path: str, above: str, name: str) -> None:
        for attempt in range(1, LINK_ATTEMPTS + 1):
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
                if attempt == LINK_ATTEMPTS:
                    raise
