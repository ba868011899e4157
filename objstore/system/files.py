"""Files and directories: whole-file replacement, unnamed temporary files, removal that does not mind the absent."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

DIRECTORY_MODE: Final = 0o700
FILE_MODE: Final = 0o600
READABLE_FILE_MODE: Final = 0o644
MOVE_ATTEMPTS: Final = 1000
TEMPORARY_SUFFIX: Final = ".tmp"

_temporary_counter = 0


def fsync_directory(path: str) -> None:
    """Make the names in a directory durable. Blocks; raises OSError."""
    with opened_directory(path) as descriptor:
        os.fsync(descriptor)


@contextmanager
def opened_directory(path: str) -> Iterator[int]:
    """The descriptor of a directory while it is needed."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def alone_with(path: str) -> Iterator[None]:
    """While no other process is here with a file of the same directory, which may be replaced meanwhile. Blocks."""
    with opened_directory(os.path.dirname(path) or ".") as directory:
        fcntl.flock(directory, fcntl.LOCK_EX)
        yield


def write_atomically(path: str, content: bytes, mode: int = FILE_MODE) -> None:
    """Replace the file by one with `content`: after a crash it is the old or the new one, whole. Blocks."""
    descriptor, temporary = _open_temporary(path, mode)
    try:
        try:
            write_all(descriptor, content)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.replace(temporary, path)
    except BaseException:
        unlink_quietly(temporary)
        raise
    fsync_directory(os.path.dirname(path) or ".")


def _open_temporary(path: str, mode: int) -> tuple[int, str]:
    while True:
        temporary = temporary_name(path)
        try:
            return os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode), temporary
        except FileExistsError:
            pass  # left by a process of the same number that crashed: the next name is free sooner or later


def temporary_name(path: str) -> str:
    """A name beside `path` that no other process or call uses at this time."""
    global _temporary_counter
    _temporary_counter += 1
    return f"{path}.{os.getpid()}.{_temporary_counter}{TEMPORARY_SUFFIX}"


def write_all(descriptor: int, content: bytes | memoryview) -> None:
    """write(2) until nothing is left; raises OSError."""
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view) :]


def make_directories(path: str) -> list[str]:
    """Make the directory and its missing parents; returns the directories that got a new name, outermost first.

    The names are not durable yet: the caller flushes the directories returned.
    """
    try:
        os.mkdir(path, DIRECTORY_MODE)
    except FileExistsError:
        return []
    except FileNotFoundError:
        parent = os.path.dirname(path)
        changed = make_directories(parent)
        try:
            os.mkdir(path, DIRECTORY_MODE)
        except FileExistsError:
            return changed
        return [*changed, parent]
    return [os.path.dirname(path)]


def unlink_quietly(path: str) -> bool:
    """Remove a file if it is there; says whether it was."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        return False
    return True


def remove_empty_directory(path: str) -> bool:
    """Remove a directory if it is there and empty; says whether it was removed."""
    try:
        os.rmdir(path)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTEMPTY, errno.EEXIST):
            return False
        raise
    return True


def list_directory(path: str) -> list[str]:
    """The names in a directory, [] if it is not there; raises OSError otherwise."""
    try:
        return os.listdir(path)
    except FileNotFoundError:
        return []


def move_aside(path: str, target: str) -> str:
    """Move a file or directory to `target`, or to a free name beside it; durable on return. Returns where it went.

    Blocks. Raises FileNotFoundError when `path` is not there, FileExistsError when all names are taken.
    """
    for changed in make_directories(os.path.dirname(target)):
        fsync_directory(changed)
    chosen = target
    for attempt in range(1, MOVE_ATTEMPTS + 1):
        if not os.path.lexists(chosen):
            try:
                os.rename(path, chosen)
                break
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise
        chosen = f"{target}-{attempt}"
    else:
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), target)
    fsync_directory(os.path.dirname(chosen))
    fsync_directory(os.path.dirname(path))
    return chosen
