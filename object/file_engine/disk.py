"""Every system call of the file engine, so that a test can put a disk that crashes in their place.

Calls that may take long wait on a thread while their greenlet sleeps. An `OpenFile` is closed when the last reference
to it goes: a greenlet that is killed while a thread still reads or writes for it cannot close the descriptor under that
thread, where the number could already stand for another file.
"""

import errno
import os
from collections.abc import Collection
from contextlib import suppress
from typing import Final

from xxhash import xxh3_128

from objstore.object.metadata import ATTRIBUTE
from objstore.system import concurrency, extents, files, xattrs
from objstore.system.flush import Flusher
from objstore.system.threads import ThreadGroup

# Copying this much to or from the page cache takes about as long as handing it to a thread.
INLINE_BYTES_MAX: Final = 128 * 1024
# Large files go to the disk in pieces of this size, and run ahead of it by two at most: what they had yet to write
# would hold up the flush at their end, and all who wait for a flush of the same filesystem meanwhile.
WRITE_BACK_BYTES: Final = 8 * 1024 * 1024

# So many files may wait to be removed; beyond this whoever makes more of them removes his own.
DISCARDED_MAX: Final = 10_000

_NO_UNNAMED_FILES: Final = (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL)


class OpenFile:
    """An open descriptor; closing removes `temporary_path`, if there is one."""

    __slots__ = ("descriptor", "temporary_path")

    def __init__(self, descriptor: int, temporary_path: str = "") -> None:
        self.descriptor = descriptor
        self.temporary_path = temporary_path

    def close(self) -> None:
        """Close at once; only while no thread uses the file."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1
            if self.temporary_path:
                files.unlink_quietly(self.temporary_path)

    def __del__(self) -> None:
        self.close()


class Disk:
    """The calls on one device, `path` being its folder. All raise OSError."""

    def __init__(self, path: str, flusher: Flusher, threads: ThreadGroup) -> None:
        self.path: Final = path
        self._flusher = flusher
        self._threads = threads
        self._scratch = memoryview(bytearray(INLINE_BYTES_MAX))
        self._reads_without_waiting = True
        self._discarded: list[str] = []
        self._discarding = False

    def names(self, directory: str) -> list[str]:
        """What a directory holds; [] when it is not there."""
        try:
            return os.listdir(directory)
        except FileNotFoundError:
            return []

    def modified(self, directory: str) -> int:
        """When names in a directory came or went, or it was touched, in nanoseconds since the epoch; 0 if absent."""
        try:
            return os.stat(directory).st_mtime_ns
        except FileNotFoundError:
            return 0

    def touch(self, directory: str) -> None:
        """Say that something below a directory has changed; one that is gone needs no saying."""
        with suppress(FileNotFoundError):
            os.utime(directory)

    def remove_empty_directory(self, path: str) -> bool:
        """Says whether it is gone; one that holds anything stays."""
        return files.remove_empty_directory(path)

    def open(self, path: str) -> OpenFile:
        return OpenFile(os.open(path, os.O_RDONLY | os.O_CLOEXEC))

    def open_directory(self, path: str) -> OpenFile:
        """For linking names into it and flushing them."""
        return OpenFile(os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))

    def create_unnamed(self, directory: str) -> OpenFile | None:
        """A file that has no name until it is linked; None where the filesystem has no such files.

        Raises FileNotFoundError when the directory is not there.
        """
        try:
            return OpenFile(files.open_unnamed(directory))
        except OSError as error:
            if error.errno not in _NO_UNNAMED_FILES:
                raise
            return None

    def create_named(self, directory: str) -> OpenFile:
        """A file under a name of its own, which goes when the file is closed. The directory is made if need be."""
        files.make_directories(directory)
        path = files.temporary_name(f"{directory}/upload")
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        return OpenFile(os.open(path, flags, files.FILE_MODE), path)

    def size(self, file: OpenFile) -> int:
        return os.fstat(file.descriptor).st_size

    def attribute(self, file: OpenFile) -> bytes | None:
        return xattrs.get(file.descriptor, ATTRIBUTE)

    def set_attribute(self, file: OpenFile, value: bytes) -> None:
        xattrs.set(file.descriptor, ATTRIBUTE, value)

    def read(self, file: OpenFile, length: int, offset: int) -> bytes:
        """Exactly `length` bytes, fewer only at the end of the file."""
        if length <= INLINE_BYTES_MAX:
            view = self._scratch[:length]
            if self._read_cached(file, view, offset) == length:
                return bytes(view)
        buffer = bytearray(length)
        return bytes(buffer[: self._threads.call(_read_fully, file, memoryview(buffer), offset)])

    def read_into(self, file: OpenFile, view: memoryview, offset: int) -> int:
        """Fill the view from the file; how much was filled is less only at the end of the file."""
        count = self._read_cached(file, view, offset)
        if count == len(view):
            return count
        return count + self._threads.call(_read_fully, file, view[count:], offset + count)

    def read_hashed(self, file: OpenFile, view: memoryview, offset: int, hasher: xxh3_128) -> int:
        """As `read_into`, on a thread; `hasher` takes what was read."""
        return self._threads.call(_read_hashed, file, view, offset, hasher)

    def _read_cached(self, file: OpenFile, view: memoryview, offset: int) -> int:
        """As much as the page cache holds; 0 when nothing."""
        if not self._reads_without_waiting:
            return 0
        try:
            return os.preadv(file.descriptor, (view,), offset, os.RWF_NOWAIT)
        except BlockingIOError:
            return 0
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):
                raise
            self._reads_without_waiting = False  # this filesystem cannot say what it has cached
            return 0

    def is_cached(self, file: OpenFile) -> bool:
        """Whether the page cache holds the beginning of the file, and so probably all of it."""
        return self._read_cached(file, self._scratch[:1], 0) == 1

    def read_sequentially(self, file: OpenFile) -> None:
        """Announce that the whole file will be read from the start."""
        os.posix_fadvise(file.descriptor, 0, 0, os.POSIX_FADV_SEQUENTIAL)

    def drop_cached(self, file: OpenFile) -> None:
        os.posix_fadvise(file.descriptor, 0, 0, os.POSIX_FADV_DONTNEED)

    def preallocate(self, file: OpenFile, length: int) -> None:
        """Reserve room, where the filesystem can."""
        try:
            self._threads.call(_preallocate, file, length)
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.ENOSYS):
                raise

    def write(self, file: OpenFile, chunk: bytes | memoryview, offset: int, hasher: xxh3_128 | None = None) -> None:
        """All of the chunk at `offset`, which is the file's end; `hasher` takes it too."""
        if len(chunk) <= INLINE_BYTES_MAX:
            if hasher is not None:
                hasher.update(chunk)
            written = os.write(file.descriptor, chunk)
            if written < len(chunk):
                files.write_all(file.descriptor, memoryview(chunk)[written:])
        else:
            self._threads.call(_write_large, file, chunk, offset, hasher)

    def flush(self, file: OpenFile) -> None:
        """Make a small file durable, together with what others wait for."""
        self._flusher.flush(file.descriptor)

    def flush_names(self, directory: OpenFile, parents: Collection[str]) -> None:
        """Make the names in a directory, and those in `parents` on the same filesystem, durable likewise."""
        self._flusher.flush(directory.descriptor, everything=bool(parents))

    def flush_all(self, directory: OpenFile) -> None:
        """Make all names on the filesystem of a directory durable likewise."""
        self._flusher.flush(directory.descriptor, everything=True)

    def flush_large(self, file: OpenFile) -> None:
        """Make one large file durable, apart from the others, whom it would hold up."""
        self._threads.call(_flush_large, file)

    def make_directories(self, path: str) -> list[str]:
        """Make it and its parents; returns the directories that got new names, outermost first."""
        return files.make_directories(path)

    def link(self, file: OpenFile, directory: OpenFile, name: str) -> None:
        """Give a new file its name; raises FileExistsError if taken, FileNotFoundError if the directory is gone."""
        if file.temporary_path:
            os.link(file.temporary_path, name, dst_dir_fd=directory.descriptor)
        else:
            files.link_unnamed(file.descriptor, directory.descriptor, name)

    def link_again(self, path: str, other: str) -> None:
        """Give a file a second name. Raises FileExistsError if that is taken, FileNotFoundError."""
        os.link(path, other)

    def rename(self, path: str, other: str) -> None:
        """Give a file another name, at once and with nothing in between. Raises FileNotFoundError."""
        os.rename(path, other)

    def replace_content(self, path: str, attribute: bytes) -> None:
        """Leave nothing in a file but this attribute. Raises FileNotFoundError."""
        file = OpenFile(os.open(path, os.O_RDWR | os.O_CLOEXEC))
        try:
            self.set_attribute(file, attribute)
            os.ftruncate(file.descriptor, 0)
        except OSError:  # no room for that, until the content has gone
            os.ftruncate(file.descriptor, 0)
            self.set_attribute(file, attribute)
        finally:
            file.close()

    def is_same_file(self, path: str, other: str) -> bool:
        """Whether two names stand for one file; not if one of them is gone."""
        try:
            return os.path.samestat(os.stat(path), os.stat(other))
        except FileNotFoundError:
            return False

    def remove_older(self, directory: str, before: float) -> int:
        """Remove the files that were last changed before a moment, in seconds since the epoch; how many. Blocks."""
        count = 0
        for name in self.names(directory):
            with suppress(FileNotFoundError):
                path = f"{directory}/{name}"
                if os.stat(path).st_mtime < before and not os.path.isdir(path):
                    os.unlink(path)
                    count += 1
        return count

    def unlink(self, path: str) -> None:
        """Remove a name that may be gone already."""
        files.unlink_quietly(path)

    def discard(self, path: str) -> None:
        """Remove a name that nothing needs any more, at some time soon.

        Freeing a file's blocks waits for the filesystem's journal, 130 microseconds each under load: a thread does it.
        What a process that is killed leaves behind is obsolete to whoever looks next.
        """
        if len(self._discarded) >= DISCARDED_MAX:
            files.unlink_quietly(path)
            return
        self._discarded.append(path)
        if not self._discarding:
            self._discarding = True
            concurrency.spawn(self._discard_all)

    @property
    def is_discarding(self) -> bool:
        """Whether names are still to be removed."""
        return self._discarding

    def _discard_all(self) -> None:
        try:
            while self._discarded:
                batch, self._discarded = self._discarded, []
                self._threads.call(_unlink_all, batch)
        finally:
            self._discarding = False

    def move_aside(self, path: str, target: str) -> str:
        """Move a directory, durably; returns where it went, "" when it was not there."""
        return self._threads.call(self.move_aside_here, path, target)

    def move_aside_here(self, path: str, target: str) -> str:
        """As `move_aside`, for callers that are on a thread already."""
        try:
            return files.move_aside(path, target)
        except FileNotFoundError:
            return ""


# What follows runs on threads, which hold the OpenFile by their argument for as long as they need it.


def _read_fully(file: OpenFile, view: memoryview, offset: int) -> int:
    filled = 0
    while filled < len(view):
        count = os.preadv(file.descriptor, (view[filled:],), offset + filled)
        if count == 0:
            break
        filled += count
    return filled


def _read_hashed(file: OpenFile, view: memoryview, offset: int, hasher: xxh3_128) -> int:
    count = _read_fully(file, view, offset)
    hasher.update(view[:count])
    return count


def _preallocate(file: OpenFile, length: int) -> None:
    extents.preallocate(file.descriptor, length)


def _write_large(file: OpenFile, chunk: bytes | memoryview, offset: int, hasher: xxh3_128 | None) -> None:
    if hasher is not None:
        hasher.update(chunk)
    files.write_all(file.descriptor, chunk)
    end = offset + len(chunk)
    if end // WRITE_BACK_BYTES > offset // WRITE_BACK_BYTES:
        start = offset // WRITE_BACK_BYTES * WRITE_BACK_BYTES
        extents.start_writing(file.descriptor, start, end - start)
        if start:
            extents.write_out(file.descriptor, start - WRITE_BACK_BYTES, WRITE_BACK_BYTES)


def _unlink_all(paths: list[str]) -> None:
    for path in paths:
        # One that a failing disk does not let go of stays: it is obsolete, not wrong.
        with suppress(OSError):
            os.unlink(path)


def _flush_large(file: OpenFile) -> None:
    os.fsync(file.descriptor)
