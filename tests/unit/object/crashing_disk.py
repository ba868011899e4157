"""A disk in memory that forgets, when it crashes, any part of what was not flushed.

It is harsher than a journaling filesystem: each name and each file's content that was not made durable is kept or lost
on its own, whatever order it was written in.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random


class Crashed(Exception):
    """The power went."""


@dataclass(eq=False)
class File:
    """Content and attribute, as seen and as durable."""

    content: bytearray = field(default_factory=bytearray)
    attribute: bytes | None = None
    safe_content: bytes = b""
    safe_attribute: bytes | None = None


@dataclass(eq=False)
class Directory:
    """Names, as seen and as durable."""

    names: dict[str, File | Directory] = field(default_factory=dict)
    safe_names: dict[str, File | Directory] = field(default_factory=dict)
    flushed: int = 0  # the number of the flush that `safe_names` comes from
    renames: list[tuple[str, str]] = field(default_factory=list)


@dataclass(eq=False)
class Opened:
    """Stands for OpenFile."""

    what: File | Directory
    descriptor: int = 3
    attribute: bytes | None = None
    size: int = 0

    def close(self) -> None:
        self.descriptor = -1


@dataclass
class Flush:
    """A name that is made durable when that is waited for."""

    disk: CrashingDisk
    directory: Directory

    def wait(self) -> None:
        self.disk.flush_name(self.directory)


class CrashingDisk:
    """Stands for Disk; crashes before its call number `crash_at` that changes something."""

    def __init__(self, crash_at: int | None = None) -> None:
        self.path = "/srv/d1"
        self.root = Directory()
        self.crash_at = crash_at
        self.is_full = False  # then there is room for no new file
        self.steps = 0
        self.flushes = 0
        self.directories_made = False
        self.between_steps: Callable[[], object] = lambda: None
        self.trace: list[str] = []

    def _change(self, call: str, others_first: bool = True) -> None:
        if others_first:
            self.between_steps()
        if self.crash_at is not None and self.steps >= self.crash_at:
            raise Crashed
        self.steps += 1
        self.trace.append(call)

    def _find(self, path: str) -> File | Directory:
        found: File | Directory = self.root
        for part in path.strip("/").split("/") if path != "/" else ():
            if not isinstance(found, Directory) or part not in found.names:
                raise FileNotFoundError(path)
            found = found.names[part]
        return found

    def _directory(self, path: str) -> Directory:
        found = self._find(path)
        assert isinstance(found, Directory)
        return found

    # What the engine calls

    def names(self, directory: str) -> list[str]:
        try:
            return list(self._directory(directory).names)
        except FileNotFoundError:
            return []

    def look(self, directory: str, read_max: int = -1) -> tuple[list[str] | None, Opened | None]:
        return self.names(directory) or None, None

    def open(self, path: str, read_max: int = 0) -> Opened:
        found = self._find(path)
        return Opened(found, 3, found.attribute, len(found.content)) if isinstance(found, File) else Opened(found)

    def stage(
        self, file: Opened | None, above: str, _temporary: str, content: bytes, attribute: bytes | None, durable: bool
    ) -> Opened:
        if file is None:
            self.make_directories(above)
            if self.is_full:
                raise OSError(errno.ENOSPC, "No space left on device")
            self._change("create")
            file = Opened(File())
        if content:
            self._change("write")
            file.what.content += content
        if attribute is not None:
            self._change("set_attribute")
            file.what.attribute = attribute
        if durable:
            self.flush(file)
        return file

    def publish(self, file: Opened, directory: str, above: str, name: str, is_new: bool) -> Flush:
        self.make_directories(directory)
        self.link(file, Opened(self._directory(directory)), name)
        return Flush(self, self._directory(directory))

    def write(
        self, directory: str, above: str, name: str, content: bytes, attribute: bytes, is_new: bool, data_first: bool
    ) -> Flush:
        return self.publish(self.stage(None, above, "", content, attribute, data_first), directory, above, name, is_new)

    def forget(self, file: Opened) -> None:
        file.close()

    def read(self, file: Opened, length: int, offset: int) -> bytes:
        return bytes(file.what.content[offset : offset + length])

    def drop_cached(self, file: Opened) -> None:
        pass

    def preallocate(self, file: Opened, length: int) -> None:
        self._change("preallocate")

    def append(self, file: Opened, chunk: bytes | memoryview, offset: int, hasher: object = None) -> None:
        self._change("write")
        if hasher is not None:
            hasher.update(chunk)
        assert offset == len(file.what.content)
        file.what.content += chunk

    def flush(self, *opened: Opened) -> None:
        self.flushes += 1
        number = self.flushes
        reached = [(each.what, dict(each.what.names)) for each in opened if isinstance(each.what, Directory)]
        self._change("flush " + " ".join(type(each.what).__name__ for each in opened))
        for directory, names in reached:
            if directory.flushed < number:  # or a flush that began later has ended before
                directory.safe_names, directory.flushed = names, number
        for each in opened:
            if isinstance(each.what, File):
                each.what.safe_content = bytes(each.what.content)
                each.what.safe_attribute = each.what.attribute

    flush_large = flush

    def flush_name(self, directory: Directory) -> None:
        """Flush the names in it, and, if directories were made since the last such flush, all there are."""
        self.flush(*map(Opened, self._all(self.root) if self.directories_made else [directory]))
        self.directories_made = False

    def flush_all(self, directory: str) -> None:
        self.flush(*map(Opened, self._all(self.root)))

    def make_directories(self, path: str) -> list[str]:
        changed = []
        at, directory = "", self.root
        for part in path.strip("/").split("/"):
            if part not in directory.names:
                self._change("mkdir", others_first=False)  # one call makes them all
                directory.names[part] = Directory()
                self.directories_made = True
                changed.append(at or "/")
            directory = directory.names[part]
            at = f"{at}/{part}"
        return changed

    def link(self, file: Opened, directory: Opened, name: str) -> None:
        self._change("link")
        if name in directory.what.names:
            raise FileExistsError(name)
        directory.what.names[name] = file.what

    def link_again(self, path: str, other: str) -> None:
        file, (parent, _, name) = self._find(path), other.rpartition("/")
        directory = self._directory(parent)
        self._change("link")
        if name in directory.names:
            raise FileExistsError(other)
        directory.names[name] = file

    def is_same_file(self, path: str, other: str) -> bool:
        return self._find(path) is self._find(other)

    def remove_empty_directory(self, path: str) -> bool:
        parent, _, name = path.rpartition("/")
        if path not in self._paths() or self._directory(path).names:
            return False
        self._change("rmdir")
        del self._directory(parent).names[name]
        return True

    def _paths(self) -> list[str]:
        found = [""]
        for path in found:
            names = self._directory(path).names if path else self.root.names
            found += [f"{path}/{name}" for name, child in names.items() if isinstance(child, Directory)]
        return found

    def unlink(self, path: str) -> None:
        self._change("unlink")
        parent, _, name = path.rpartition("/")
        self._directory(parent).names.pop(name, None)

    discard = unlink

    def rename(self, directory: str, name: str, other: str, above: str) -> Flush:
        self._change("rename")
        found = self._directory(directory)
        if name not in found.names:
            raise FileNotFoundError(name)
        found.names[other] = found.names.pop(name)
        found.renames.append((name, other))
        return Flush(self, found)

    def replace_content(self, path: str, attribute: bytes) -> None:
        self._change("replace_content")
        file = self._find(path)
        assert isinstance(file, File)
        file.content, file.attribute = bytearray(), attribute

    def move_aside(self, path: str, target: str) -> str:
        raise AssertionError(f"{path} was found corrupt")

    def touch(self, path: str) -> None:
        pass

    def forget_digests(self, record: str, directory: str) -> None:
        pass

    # What the test calls

    def settle_everything(self) -> None:
        """All that is there survives from now on."""
        for what in self._all(self.root):
            self.flush(Opened(what))

    def crash(self, random: Random) -> None:
        """Lose any part of what was not flushed, and run again."""
        self.crash_at = None
        self._lose(self.root, random)

    def _all(self, directory: Directory) -> list[File | Directory]:
        found: list[File | Directory] = [directory]
        for child in directory.names.values():
            found += self._all(child) if isinstance(child, Directory) else [child]
        return found

    def _lose(self, directory: Directory, random: Random) -> None:
        together = random.random() < 0.5  # the two names of a rename
        renamed = {name for pair in directory.renames for name in pair}
        for name in {*directory.names, *directory.safe_names}:
            before, now = directory.safe_names.get(name), directory.names.get(name)
            kept = random.choice((before, now)) if name not in renamed else now if together else before
            directory.names.pop(name, None)
            if kept is not None:
                directory.names[name] = kept
        directory.safe_names = dict(directory.names)
        for child in directory.names.values():
            if isinstance(child, Directory):
                self._lose(child, random)
            elif random.random() < 0.5:
                child.content, child.attribute = bytearray(child.safe_content), child.safe_attribute
