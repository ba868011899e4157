"""A file that a command rewrites while processes use it: each reads it again soon after it has changed."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from objstore.config.loading import ConfigError
from objstore.system.generations import shared_generations

if TYPE_CHECKING:
    from objstore.runtime import Runtime

# What a command has changed counts after so long.
CHECK_INTERVAL_SECONDS: Final = 1.0

T = TypeVar("T")


class FollowedFile(Generic[T]):
    """What `read` makes of a file, as it is now; the file need not be there.

    It is looked at when somebody asks, once in CHECK_INTERVAL_SECONDS, and at once if a process of this service has
    replaced it and bumped the generation of its path. One that cannot be read changes nothing, and is logged once.
    """

    def __init__(self, path: str, read: Callable[[], T], runtime: Runtime, what: str) -> None:
        """Reads the file. `what` is how the log calls its content. Blocks; raises ConfigError."""
        self._path: Final = path
        self._read: Final = read
        self._what: Final = what
        self._log: Final = runtime.log
        self._monotonic: Final = runtime.clock.monotonic
        self._generations: Final = shared_generations()
        self._generation = self._generations.read(path)
        self._checked_at = self._monotonic()
        # The identity is taken before reading: a file replaced in between is then read once more, not missed.
        self._seen = _identity_of(path)
        self._current = read()

    @property
    def current(self) -> T:
        """Costs a comparison between checks."""
        now, generation = self._monotonic(), self._generations.read(self._path)
        if now - self._checked_at >= CHECK_INTERVAL_SECONDS or generation != self._generation:
            self._checked_at, self._generation = now, generation
            self._check()
        return self._current

    @property
    def newest(self) -> T:
        """Checks the file."""
        self._check()
        return self._current

    def _check(self) -> None:
        seen = _identity_of(self._path)
        if seen != self._seen:
            self._seen = seen
            try:
                self._current = self._read()
            except ConfigError as error:
                self._log.error(f"{self._what} cannot be read, those read before stay", reason=str(error))


def _identity_of(path: str) -> tuple[int, int, int] | None:
    """What changes whenever the file is replaced or written; None when it is not there."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns
