"""Every system call of the file engine, so that a test can put a disk that crashes in their place.

Whatever may wait for the disk runs on threads of the device. Methods that say that they block are for callers that are
on a thread already; in all others a greenlet waits meanwhile.
"""

import errno
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

from xxhash import xxh3_128

from objstore.object.metadata import ATTRIBUTE
from objstore.system import concurrency, extents, files, xattrs
from objstore.system.concurrency import Event
from objstore.system.disk_calls import DeviceCalls, Flusher, OpenFile, Pending, Result, looked, seen
from objstore.system.threads import ThreadGroup

# Copying this much from the page cache takes about as long as handing it to a thread.
INLINE_BYTES_MAX: Final = 128 * 1024
# Large files go to the disk in pieces of this size, and run ahead of it by two at most: what they had yet to write
# would hold up the flush at their end, and all who wait for a flush of the same filesystem meanwhile.
WRITE_BACK_BYTES: Final = 8 * 1024 * 1024
# So many files may wait to be removed; beyond this whoever makes more of them waits until his own is.
DISCARDED_MAX: Final = 10_000
_NO_UNNAMED_FILES: Final = (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL)


class Disk:
    """The calls on one device, `path` being its folder. All raise OSError."""

    def __init__(self, path: str, calls: DeviceCalls, flusher: Flusher, threads: ThreadGroup) -> None:
        """`threads` are the device's own."""
        self.path: Final = path
        self._calls = calls
        self._flusher = flusher
        self._threads = threads
        self._scratch = memoryview(bytearray(INLINE_BYTES_MAX))
        self._reads_without_waiting = True
        self._discarded: list[str] = []
        self._discarding = False

    def names(self, directory: str) -> list[str]:
        """What a directory holds; [] when it is not there. Blocks."""
        try:
            return os.listdir(directory)
        except FileNotFoundError:
            return []

    def look(self, directory: str, read_max: int = -1) -> tuple[list[str] | None, OpenFile | None]:
        """What a directory holds; None when it is not there.

        A file that is alone in it is opened as by `open`, unless `read_max` is -1; None if that fails: it may be gone.
        """
        return seen(directory, self._calls.look(directory, read_max))

    def begin_look(self, directory: str) -> tuple[Event[Result], Callable[[], list[str] | None]]:
        """When the names in a directory are known, and what waits for them."""
        outcome = self._calls.begin_look(directory, -1)
        return outcome, lambda: seen(directory, looked(outcome))[0]

    def open(self, path: str, read_max: int = 0) -> OpenFile:
        """For reading; its content comes with it, if it is not longer than `read_max`. Raises FileNotFoundError."""
        number, _, opened = self._calls.open(path, read_max)
        if number:
            raise _error(number, path)
        assert isinstance(opened, OpenFile)
        return opened

    def stage(
        self,
        file: OpenFile | None,
        above: str,
        temporary: str,
        content: bytes,
        attribute: bytes | None,
        durable: bool,
    ) -> OpenFile:
        """Append content to a new file and set its attribute; make both durable, if asked, with what others wait for.

        Without a file one is begun that has no name, on the filesystem of the directory `above`, which is made if need
        be; where the filesystem has no such files, it gets a name in `temporary`, which goes when it is closed.
        """
        number, _, opened = self._calls.stage(file, above, content, attribute, durable)
        if file is None and number in _NO_UNNAMED_FILES:
            file = self._threads.call(_create_named, temporary)
            number, _, opened = self._calls.stage(file, above, content, attribute, durable)
        if number:
            raise _error(number, above)
        return file or opened

    def publish(self, file: OpenFile, directory: str, above: str, name: str, is_new: bool) -> Pending:
        """Link a new file into a directory, which is made if need be. Raises FileExistsError.

        Digests go by the time of the directory `above`: it is touched unless a directory is made in it, which `is_new`
        supposes.
        """
        (number, *_), pending = self._calls.publish(file, directory, above, name, is_new)
        if number:
            raise _error(number, directory)
        return pending

    def write(
        self, directory: str, above: str, name: str, content: bytes, attribute: bytes, is_new: bool, data_first: bool
    ) -> Pending | None:
        """`stage` and `publish` a file, which is durable before it gets its name if `data_first`.

        None where the filesystem has no files without names.
        """
        (number, *_), pending = self._calls.write(directory, above, name, content, attribute, is_new, data_first)
        if number in _NO_UNNAMED_FILES:
            return None
        if number:
            raise _error(number, directory)
        return pending

    def reopen(self, path: str) -> OpenFile:
        """A new file that was given a name, to go on with it; the name goes when it is closed. FileNotFoundError."""
        return self._threads.call(_open_named, path, os.O_APPEND)

    def forget(self, file: OpenFile) -> None:
        """Close a new file that nobody needs, at some time soon."""
        if file.temporary_path:
            file.close()
        else:
            self._calls.close(file)

    def modified(self, directory: str) -> int:
        """When names in a directory came or went, or it was touched, in nanoseconds; 0 if absent. Blocks."""
        try:
            return os.stat(directory).st_mtime_ns
        except FileNotFoundError:
            return 0

    def touch(self, directory: str) -> None:
        """Say that something below a directory has changed; one that is gone needs no saying. Blocks."""
        with suppress(FileNotFoundError):
            os.utime(directory)

    def remove_empty_directory(self, path: str) -> bool:
        """Says whether it is gone; one that holds anything stays. Blocks."""
        return files.remove_empty_directory(path)

    def read(self, file: OpenFile, length: int, offset: int) -> bytes:
        """Exactly `length` bytes, fewer only at the end of the file."""
        if file.content is not None:
            return file.content[offset : offset + length]
        if length <= INLINE_BYTES_MAX:
            view = self._scratch[:length]
            if self._read_cached(file, view, offset) == length:
                return bytes(view)
        buffer = bytearray(length)
        return bytes(buffer[: self._threads.call(_read_fully, file, memoryview(buffer), offset)])

    def read_into(self, file: OpenFile, view: memoryview, offset: int) -> int:
        """Fill the view from the file; how much was filled is less only at the end of the file."""
        if (count := self._read_cached(file, view, offset)) == len(view):
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

    def append(self, file: OpenFile, chunk: bytes | memoryview, offset: int, hasher: xxh3_128 | None = None) -> None:
        """All of the chunk at `offset`, which is the file's end; `hasher` takes it too."""
        self._threads.call(_append, file, chunk, offset, hasher)

    def flush_all(self, directory: str) -> None:
        """Make all names on the filesystem of a directory durable. Raises FileNotFoundError."""
        opened = self._threads.call(_open_directory, directory)
        self._flusher.flush(opened.descriptor, everything=True)

    def flush_large(self, file: OpenFile) -> None:
        """Make one large file durable, apart from the others, whom it would hold up."""
        self._threads.call(_flush_large, file)

    def make_directories(self, path: str) -> None:
        """Make it and its parents. Blocks."""
        files.make_directories(path)
        self._calls.made_directories()

    def link_again(self, path: str, other: str) -> None:
        """Give a file a second name. Raises FileExistsError if that is taken, FileNotFoundError. Blocks."""
        os.link(path, other)

    def rename(self, directory: str, name: str, other: str, above: str) -> Pending:
        """Touch `above`, and give a file another name, with nothing in between. Raises FileNotFoundError."""
        return _Flush(self._flusher, self._threads.call(self._rename, directory, name, other, above))

    def _rename(self, directory: str, name: str, other: str, above: str) -> OpenFile:
        self.touch(above)
        opened = _open_directory(directory)
        os.rename(f"{directory}/{name}", f"{directory}/{other}")
        return opened

    def replace_content(self, path: str, attribute: bytes) -> None:
        """Leave nothing in a file but this attribute. Raises FileNotFoundError."""
        self._threads.call(_replace_content, path, attribute)

    def is_same_file(self, path: str, other: str) -> bool:
        """Whether two names stand for one file; not if one of them is gone. Blocks."""
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
        """Remove a name that may be gone already. Blocks."""
        files.unlink_quietly(path)

    def discard(self, path: str) -> None:
        """Remove a name that nothing needs any more, at some time soon.

        Freeing blocks waits for the filesystem's journal, 130 microseconds each under load: a thread does it. What a
        process that is killed leaves behind is obsolete to whoever looks next, or given up by then.
        """
        if len(self._discarded) >= DISCARDED_MAX:
            self._threads.call(_unlink_all, [path])
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

    def forget_digests(self, record: str, directory: str) -> None:
        """Remove the file `record`, and a directory if it is empty."""
        self._threads.call(_forget_digests, record, directory)

    def move_aside(self, path: str, target: str) -> str:
        """Move a directory, durably; returns where it went, "" when it was not there."""
        return self._threads.call(self.move_aside_here, path, target)

    def move_files_aside(self, directory: str, names: Sequence[str], target: str) -> str:
        """Move files of a directory, in this order, as `move_aside` does; touch the one above it."""
        return "".join(self._threads.call(self._move_file_aside, directory, name, target) for name in names) and target

    def _move_file_aside(self, directory: str, name: str, target: str) -> str:
        self.touch(os.path.dirname(directory))
        return self.move_aside_here(f"{directory}/{name}", f"{target}/{name}")

    def move_aside_here(self, path: str, target: str) -> str:
        """As `move_aside`, for callers that are on a thread already."""
        try:
            return files.move_aside(path, target)
        except FileNotFoundError:
            return ""


class _Flush:
    """Flushes a directory when that is waited for."""

    def __init__(self, flusher: Flusher, directory: OpenFile) -> None:
        self._flusher = flusher
        self._directory = directory

    def wait(self) -> None:
        self._flusher.flush(self._directory.descriptor)


def _error(number: int, path: str) -> OSError:
    return OSError(number, os.strerror(number), path)


# What follows runs on threads, which hold the OpenFile by their argument for as long as they need it.


def _open_directory(path: str) -> OpenFile:
    return OpenFile(os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))


def _create_named(directory: str) -> OpenFile:
    files.make_directories(directory)
    return _open_named(files.temporary_name(f"{directory}/upload"), os.O_CREAT | os.O_EXCL)


def _open_named(path: str, flags: int = 0) -> OpenFile:
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | flags, files.FILE_MODE)
    file = OpenFile(descriptor, os.fstat(descriptor).st_size)
    file.temporary_path = path
    return file


def _replace_content(path: str, attribute: bytes) -> None:
    file = OpenFile(os.open(path, os.O_RDWR | os.O_CLOEXEC))
    try:
        xattrs.set(file.descriptor, ATTRIBUTE, attribute)
        os.ftruncate(file.descriptor, 0)
    except OSError:  # no room for that, until the content has gone
        os.ftruncate(file.descriptor, 0)
        xattrs.set(file.descriptor, ATTRIBUTE, attribute)
    finally:
        file.close()


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


def _append(file: OpenFile, chunk: bytes | memoryview, offset: int, hasher: xxh3_128 | None) -> None:
    if hasher is not None:
        hasher.update(chunk)
    files.write_all(file.descriptor, chunk)
    end = offset + len(chunk)
    if end // WRITE_BACK_BYTES > offset // WRITE_BACK_BYTES:
        start = offset // WRITE_BACK_BYTES * WRITE_BACK_BYTES
        extents.start_writing(file.descriptor, start, end - start)
        if start:
            extents.write_out(file.descriptor, start - WRITE_BACK_BYTES, WRITE_BACK_BYTES)


def _forget_digests(record: str, directory: str) -> None:
    files.remove_empty_directory(directory)
    files.unlink_quietly(record)


def _unlink_all(paths: list[str]) -> None:
    for path in paths:
        # One that a failing disk does not let go of stays: it is obsolete, not wrong.
        with suppress(OSError):
            os.unlink(path)


def _flush_large(file: OpenFile) -> None:
    os.fsync(file.descriptor)
