"""What the threads of a device do without the interpreter, call by call on a simulated disk."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from typing import Any, Final

import xattr

from objstore.system import concurrency, files
from objstore.system.concurrency import Event
from objstore.system.disk_calls import OpenFile, Pending, Result
from tests.simulation.calls import SimulatedCalls

RACE_ATTEMPTS: Final = 10


class Durable:
    """Something that is made durable when that is waited for."""

    def __init__(self, wait: Callable[[], None]) -> None:
        self.wait = wait


class SimulatedDeviceCalls:
    """Stands for DeviceCalls: each takes a moment, then it is done at once."""

    def __init__(
        self, calls: SimulatedCalls, attribute: str, pause: Callable[[], None], flush: Callable[..., None]
    ) -> None:
        self._calls = calls
        self._attribute = attribute
        self._pause = pause
        self._flush = flush
        self._made = False

    def look(self, directory: str, read_max: int) -> Result:
        self._pause()
        names: list[str] = []
        try:
            names = self._calls.listdir(directory)
            opened = self._opened(f"{directory}/{names[0]}", read_max) if len(names) == 1 and read_max >= 0 else None
        except OSError as error:
            return error.errno or 0, names, None
        return 0, names, opened

    def begin_look(self, directory: str, read_max: int) -> Event[Result]:
        outcome: Event[Result] = Event()

        def look() -> None:
            try:
                outcome.set(self.look(directory, read_max))
            except OSError as error:
                outcome.fail(error)

        concurrency.spawn(look)
        return outcome

    def open(self, path: str, read_max: int) -> Result:
        self._pause()
        try:
            return 0, [], self._opened(path, read_max)
        except OSError as error:
            return error.errno or 0, [], None

    def _opened(self, path: str, read_max: int) -> OpenFile:
        file = OpenFile(self._calls.open(path, os.O_RDONLY | os.O_CLOEXEC))
        file.size = os.fstat(file.descriptor).st_size
        try:
            file.attribute = xattr.getxattr(file.descriptor, self._attribute)
        except OSError as error:
            if error.errno != errno.ENODATA:
                raise
        if file.size <= read_max:
            file.content = self._calls.pread(file.descriptor, file.size, 0)
        return file

    def stage(
        self, file: OpenFile | None, above: str, content: bytes | None, value: bytes | None, durable: bool
    ) -> Result:
        self._pause()
        try:
            opened = file or self._begun(above)
            if content:
                files.write_all(opened.descriptor, content)
            if value is not None:
                self._calls.set_attribute(opened.descriptor, self._attribute, value, xattr)
            if durable:
                self.flush_data(opened)
        except OSError as error:
            return error.errno or 0, [], None
        return 0, [], None if file else opened

    def _begun(self, directory: str) -> OpenFile:
        for _ in range(RACE_ATTEMPTS):
            try:
                return OpenFile(self._calls.open(directory, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, files.FILE_MODE))
            except FileNotFoundError:
                self._make_directories(directory)
        raise FileNotFoundError(errno.ENOENT, "", directory)

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
        number, _, file = self.stage(None, above, content, value, data_first)
        if number:
            return (number, [], None), Durable(lambda: None)
        return self.publish(file, directory, above, name, is_new)

    def publish(self, file: OpenFile, directory: str, above: str, name: str, is_new: bool) -> tuple[Result, Pending]:
        self._pause()
        number = 0
        try:
            opened = self._published(file, directory, above, name, is_new)
        except OSError as error:
            number, opened = error.errno or 0, file
        return (number, [], None), Durable(lambda: self.flush_name(opened))

    def _published(self, file: OpenFile, directory: str, above: str, name: str, is_new: bool) -> OpenFile:
        made = self._make_directories(directory) if is_new else False
        if not made and os.path.isdir(above):
            self._calls.utime(above)
        for _ in range(RACE_ATTEMPTS):
            try:
                opened = OpenFile(self._calls.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
                source = f"/proc/self/fd/{file.descriptor}"
                self._calls.link(source, name, dst_dir_fd=opened.descriptor, follow_symlinks=True)
                return opened
            except FileNotFoundError:
                self._make_directories(directory)
        raise FileNotFoundError(errno.ENOENT, "", directory)

    def flush_data(self, file: OpenFile) -> None:
        """Make the content of a file durable."""
        self._flush(file.descriptor)

    def flush_name(self, directory: OpenFile) -> None:
        """Make the names in a directory durable, and those above it if any was made since the last such flush."""
        everything, self._made = self._made, False
        self._flush(directory.descriptor, everything)

    def made_directories(self) -> None:
        self._made = True

    def _make_directories(self, path: str) -> bool:
        made = bool(files.make_directories(path))
        self._made = self._made or made
        return made

    def close(self, file: OpenFile) -> None:
        file.close()


def make(calls: SimulatedCalls, pause: Callable[[], None]) -> Callable[[str, Any, str], Any]:
    """Stands for the class, in one process."""
    return lambda _path, flusher, attribute: SimulatedDeviceCalls(calls, attribute, pause, flusher.flush)
