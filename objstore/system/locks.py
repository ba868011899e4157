"""Locks between processes, on files."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from objstore.errors import StoreError
from objstore.system import concurrency

RETRY_SECONDS: Final = 0.05


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
