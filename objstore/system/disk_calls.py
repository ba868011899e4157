"""Short system calls on files, made by threads that need no interpreter (crew.c) while their greenlets wait.

A disk that hangs holds up those who wait for it, and nobody else: after HUNG_SECONDS they get OSError (ETIMEDOUT), and
while one of its calls is overdue no further ones are begun.

Flushes are shared: the thread of a filesystem takes all who wait, flushes once, and lets them go; who comes while a
round is under way waits for the next. For a single descriptor that is fsync(2); for more, one syncfs(2): creating 4 KiB
files at 24 a batch, with one flush for the data and one for the names, one disk makes 10,000 files a second durable so,
against 2,200 with fsync of each file and its directory. When a flush fails, all callers of the round get the error.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import Any, Final, Protocol

from objstore.system import concurrency, crew, files
from objstore.system.concurrency import Event, WaitTimeout

CALL_THREADS: Final = 4
QUEUED_CALLS_MAX: Final = 4096
# A short call that has not returned by then hangs on its disk.
HUNG_SECONDS: Final = 10.0
# A flush may have much to write.
FLUSH_SECONDS: Final = 60.0

# An errno or 0, names that were found, the file that was opened.
Result = tuple[int, list[str], Any]


class Pending(Protocol):
    """Something that is being made durable."""

    def wait(self) -> None:
        """Until it is. Raises OSError when the disk failed or does not answer: then it may or may not last."""


class OpenFile:
    """An open descriptor; closing removes `temporary_path`, if there is one.

    `size`, `attribute` and `content` are what was found when it was opened for reading; `content` is None if it was not
    wanted. It is closed when the last reference to it goes: a greenlet that is killed while a thread still reads or
    writes for it cannot close the descriptor under that thread, where the number could already stand for another file.
    """

    __slots__ = ("attribute", "content", "descriptor", "size", "temporary_path")

    def __init__(
        self, descriptor: int, size: int = 0, attribute: bytes | None = None, content: bytes | None = None
    ) -> None:
        self.descriptor = descriptor
        self.size = size
        self.attribute = attribute
        self.content = content
        self.temporary_path = ""

    def close(self) -> None:
        """Close at once; only while no thread uses the file."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1
            if self.temporary_path:
                files.unlink_quietly(self.temporary_path)

    def __del__(self) -> None:
        self.close()


class _Pending:
    """A call that was submitted."""

    __slots__ = ("_outcome",)

    def __init__(self, outcome: Event[Result]) -> None:
        self._outcome = outcome

    def wait(self) -> None:
        """Until it has succeeded. Raises OSError."""
        number, *_ = _result(self._outcome, FLUSH_SECONDS)
        if number:
            raise OSError(number, f"flush failed: {os.strerror(number)}")


def _result(outcome: Event[Result], seconds: float) -> Result:
    try:
        return outcome.wait(seconds)
    except WaitTimeout:
        raise OSError(errno.ETIMEDOUT, "the disk does not answer") from None


def looked(outcome: Event[Result]) -> Result:
    """What a look has seen. Raises OSError (ETIMEDOUT)."""
    return _result(outcome, HUNG_SECONDS)


def seen(directory: str, result: Result) -> tuple[list[str] | None, OpenFile | None]:
    """What a look at a directory gives: no names if there is none. Raises OSError."""
    number, names, opened = result
    if not number or names:
        return names, opened
    if number == errno.ENOENT:
        return None, None
    raise OSError(number, os.strerror(number), directory)


def _collect() -> None:
    for outcome, result in crew.take_ended():
        outcome.set(result)


class Flusher:
    """Makes written files durable. A crew for each filesystem does it, whose threads start with the first call."""

    def __init__(self) -> None:
        self._crews: dict[int, crew.Crew] = {}
        self._hub: concurrency.ChannelHub | None = None

    def flush(self, descriptor: int, everything: bool = False) -> None:
        """Wait until all that was written to this file or directory is on stable storage.

        With `everything`, so is all that was written to its filesystem before. The descriptor may be closed when this
        returns or raises. Raises OSError when the disk failed or does not answer; then nothing may be acknowledged.
        """
        status = os.fstat(descriptor)
        outcome: Event[Result] = Event()
        self.crew_of(status.st_dev).flush(outcome, descriptor, everything, stat.S_ISREG(status.st_mode))
        _Pending(outcome).wait()

    def crew_of(self, filesystem: int) -> crew.Crew:
        """The threads for a filesystem, given its number (st_dev)."""
        hub = concurrency.current_hub()
        if self._hub is not hub:  # the first call, or the first one after a fork
            self._hub, self._crews = hub, {}
            if hub.collect is not _collect:
                hub.begin, hub.collect = crew.begin, _collect
                crew.report_to(hub.eventfd, OpenFile)
        found = self._crews.get(filesystem)
        if found is None:
            found = crew.Crew(filesystem, CALL_THREADS, HUNG_SECONDS, FLUSH_SECONDS, QUEUED_CALLS_MAX)
            self._crews[filesystem] = found
        return found


class DeviceCalls:
    """The calls on the files of one device. All raise OSError (ETIMEDOUT, EBUSY) when the device does not answer."""

    def __init__(self, path: str, flusher: Flusher, attribute: str) -> None:
        """`path` is the device's folder; `attribute` names the extended attribute of its files."""
        self._path = path
        self._flusher = flusher
        self._attribute = attribute
        self._hub: concurrency.ChannelHub | None = None
        self._crew: crew.Crew

    def look(self, directory: str, read_max: int) -> Result:
        """The names in a directory; a file that is alone there is opened as by `open`, unless `read_max` is -1."""
        return looked(self.begin_look(directory, read_max))

    def begin_look(self, directory: str, read_max: int) -> Event[Result]:
        """`look`, under way: `looked` waits for what it gives."""
        outcome: Event[Result] = Event()
        self._own().look(outcome, directory, self._attribute, read_max)
        return outcome

    def open(self, path: str, read_max: int) -> Result:
        """A file with its size and attribute, and its content if that is no longer than `read_max` bytes."""
        outcome: Event[Result] = Event()
        self._own().open(outcome, path, self._attribute, read_max)
        return _result(outcome, HUNG_SECONDS)

    def stage(
        self, file: OpenFile | None, above: str, content: bytes | None, value: bytes | None, durable: bool
    ) -> Result:
        """Append content to a file and set its attribute; make both durable, if asked, sharing a flush.

        Without a file it begins one that has no name yet, on the filesystem of the directory `above`, which is made if
        need be.
        """
        outcome: Event[Result] = Event()
        self._own().stage(outcome, file, above, content, self._attribute, value, durable)
        return _result(outcome, FLUSH_SECONDS if durable else HUNG_SECONDS)

    def write(
        self,
        directory: str,
        above: str,
        name: str,
        content: bytes | None,
        value: bytes | None,
        is_new: bool,
        data_first: bool,
    ) -> tuple[Result, Pending]:
        """`stage` a file and `publish` it; with `data_first` it is durable before it gets its name."""
        outcome: Event[Result] = Event()
        durable: Event[Result] = Event()
        own = self._own()
        own.write(outcome, durable, directory, above, name, content, self._attribute, value, is_new, data_first)
        return _result(outcome, FLUSH_SECONDS), _Pending(durable)

    def publish(self, file: OpenFile, directory: str, above: str, name: str, is_new: bool) -> tuple[Result, Pending]:
        """Link a file into a directory, which is made if need be; what it gives waits until the name is durable.

        Before the name comes, and again if that takes long, the directory `above` is touched, unless a directory was
        made in it; `is_new` supposes that.
        """
        outcome: Event[Result] = Event()
        durable: Event[Result] = Event()
        source = file.temporary_path or None
        self._own().publish(outcome, durable, file, source, directory, above, name, is_new)
        return _result(outcome, HUNG_SECONDS), _Pending(durable)

    def close(self, file: OpenFile) -> None:
        """Close a file that nobody needs, at some time soon: to give back what it holds may wait for the disk."""
        if file.descriptor >= 0:
            descriptor, file.descriptor = file.descriptor, -1
            self._own().close(descriptor)

    def made_directories(self) -> None:
        """Somebody has made directories here in another way: names in them are not durable with these alone."""
        self._own().made_directories()

    def _own(self) -> crew.Crew:
        hub = concurrency.current_hub()
        if self._hub is not hub:
            self._crew = self._flusher.crew_of(os.stat(self._path).st_dev)
            self._hub = hub
        return self._crew
