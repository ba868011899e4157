"""Locks between processes, on files."""

from __future__ import annotations

import errno
import fcntl
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from objstore.errors import StoreError
from objstore.system import concurrency

RETRY_SECONDS: Final = 0.05
# struct flock: l_type, l_whence, l_start, l_len, l_pid.
_RANGE: Final = struct.Struct("hhqqi4x")


@dataclass(eq=False)
class LockTimeout(StoreError):
    """Another process held the lock for too long."""

    path: str
    timeout_seconds: float

    def __str__(self) -> str:
        return f"{self.path} is locked by another process (waited {self.timeout_seconds} s)"


@contextmanager
def locked(path: str, timeout_seconds: float = 10.0) -> Iterator[int]:
    """Hold the exclusive lock of the file, which is created if need be; gives its descriptor. Raises LockTimeout."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        _acquire(descriptor, path, timeout_seconds)
        yield descriptor
    finally:
        os.close(descriptor)


def _acquire(descriptor: int, path: str, timeout_seconds: float) -> None:
    deadline = concurrency.monotonic() + timeout_seconds
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if concurrency.monotonic() >= deadline:
                raise LockTimeout(path, timeout_seconds) from None
            concurrency.sleep(RETRY_SECONDS)


def try_lock_range(descriptor: int, start: int, length: int = 1) -> bool:
    """Lock bytes of a file for this open file description against all others (fcntl(2)); False if one has them."""
    try:
        fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, _RANGE.pack(fcntl.F_WRLCK, os.SEEK_SET, start, length, 0))
    except OSError as error:
        if error.errno in (errno.EAGAIN, errno.EACCES):
            return False
        raise
    return True


def unlock_range(descriptor: int, start: int, length: int = 1) -> None:
    """Give up what `try_lock_range` has locked."""
    fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, _RANGE.pack(fcntl.F_UNLCK, os.SEEK_SET, start, length, 0))


def is_range_locked(descriptor: int, start: int, length: int = 1) -> bool:
    """Whether another open file description has locked any of these bytes."""
    asked = _RANGE.pack(fcntl.F_WRLCK, os.SEEK_SET, start, length, 0)
    answer = fcntl.fcntl(descriptor, fcntl.F_OFD_GETLK, asked)
    return bool(_RANGE.unpack(answer)[0] != fcntl.F_UNLCK)
