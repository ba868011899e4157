"""What replicators keep on a device: locks of its partitions, and a note of the last pass."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Final

import msgspec
from msgspec import Struct

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


class Note(Struct, frozen=True, array_like=True):
    """When the first and the last pass ended in which a device was in touch with others, in seconds since the epoch.

    A disk that is new or was emptied has no note: `since` tells how far back goes what it knows.
    """

    since: float
    last: float


def read_note(device: str) -> Note | None:
    """None for a device that is new. Blocks."""
    try:
        with open(f"{device}/{NOTE}", "rb") as file:
            noted = msgspec.json.decode(file.read(), type=Note | float)
    except (OSError, msgspec.DecodeError):
        return None
    # The first version has the last pass alone.
    return noted if isinstance(noted, Note) else Note(noted, noted)


def write_note(device: str, now: float) -> None:
    """Such a pass has ended. Blocks; raises OSError."""
    known = read_note(device)
    files.write_atomically(f"{device}/{NOTE}", msgspec.json.encode(Note(known.since if known else now, now)))
