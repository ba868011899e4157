"""What replicators keep on a device: locks of its partitions, and a note of the last pass."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Final

import msgspec

from objstore.mounts import NO_ROOM
from objstore.system import files
from objstore.system.locks import locked

NOTE: Final = "objects_replicated"
_REFUSED: Final = (*NO_ROOM, errno.EROFS)


@contextmanager
def lock_held(device: str, name: str, timeout_seconds: float) -> Iterator[None]:
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


def read_note(device: str) -> float | None:
    """When the last pass that reached everybody ended, in seconds since the epoch; None for a device that is new."""
    try:
        with open(f"{device}/{NOTE}", "rb") as file:
            return msgspec.json.decode(file.read(), type=float)
    except (OSError, msgspec.DecodeError):
        return None


def write_note(device: str, now: float) -> None:
    """Such a pass has ended. Blocks; raises OSError."""
    files.write_atomically(f"{device}/{NOTE}", msgspec.json.encode(now))
