"""Which directories hold names that are not durable yet, so that nobody builds on them unknowingly.

A writer that finds a hash directory does not know whether the one who made it has flushed the directory above. This
dirty does, within one process; between processes the order in which a filesystem's journal commits has to do.
"""

from collections.abc import Iterable
from itertools import count

# DEVICE, DATA_DIR, PARTITION, SUFFIX: what lies above a hash directory on its device.
LEVELS_ABOVE = 4


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
