"""What replicators keep on a device: locks of its partitions, and a note of the last pass."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Final

from objstore.mounts import NO_ROOM
from objstore.system import files
from objstore.system.locks import locked

_REFUSED: Final = (*NO_ROOM, errno.EROFS)


@contextmanager
def partition_lock_held(device: str, name: str, timeout_seconds: float) -> Iterator[None]:
    """Hold a lock of a device. Raises LockTimeout and OSError.

    Locks keep syncs from doing the same work twice; two at once do no harm. So a device that has no room for them, and
    is in need of being emptied, does without.
    """
    with ExitStack() as held:
        try:
            files.make_directories(f"{device}/locks")
            held.enter_context(locked(f"{device}/locks/{name}", timeout_seconds))
        except OSError as error:
            if error.errno not in _REFUSED:
                raise
        yield
