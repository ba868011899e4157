"""A ring that follows its file."""

from __future__ import annotations

import os
from typing import Final, Protocol

from objstore.logs import get_logger
from objstore.ring.errors import RingFileError
from objstore.ring.format import read_ring
from objstore.ring.ring import Ring
from objstore.system.generations import shared_generations

CHECK_INTERVAL_SECONDS: Final = 15.0

log = get_logger(__name__)


class MonotonicClock(Protocol):
    """The part of a clock that measures intervals."""

    def monotonic(self) -> float: ...


FileIdentity = tuple[int, int, int]  # inode, size in bytes, mtime in nanoseconds


class RingFile:
    """The ring of a file, read again when the file changes; looks at most once in `check_interval_seconds`.

    A worker that puts a new file there bumps the generation of the path, and all workers of the service look at once.
    A file that cannot be read leaves the last good ring in use, and is logged once for each version of the file.
    """

    def __init__(
        self,
        path: str,
        clock: MonotonicClock,
        check_interval_seconds: float = CHECK_INTERVAL_SECONDS,
    ) -> None:
        """Reads the file. Blocks; raises RingFileError."""
        self.path: Final = path
        self._clock: Final = clock
        self._check_interval_seconds: Final = check_interval_seconds
        self._generations: Final = shared_generations()
        self._generation = self._generations.read(path)
        self._checked_at = clock.monotonic()
        # The identity is taken before reading: a file replaced in between is then read once more, not missed.
        self._identity = _identity_of(path)
        self._ring = read_ring(path)

    @property
    def ring(self) -> Ring:
        """The newest good ring; costs two comparisons between checks."""
        if (
            self._clock.monotonic() - self._checked_at >= self._check_interval_seconds
            or self._generations.read(self.path) != self._generation
        ):
            self.check()
        return self._ring

    def check(self) -> None:
        """Look at the file now, and read it if it is another one than before."""
        self._checked_at = self._clock.monotonic()
        self._generation = self._generations.read(self.path)
        identity = _identity_of(self.path)
        if identity == self._identity:
            return
        self._identity = identity
        try:
            self._ring = read_ring(self.path)
        except RingFileError as error:
            log.error("ring file is bad, the last good ring stays in use", path=self.path, reason=error.reason)
        else:
            log.info("ring file loaded", path=self.path, version=self._ring.version)


def _identity_of(path: str) -> FileIdentity | None:
    """What changes whenever the file is replaced; None when it is not there."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns
