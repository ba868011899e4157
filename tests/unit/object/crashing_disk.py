"""A disk in memory that forgets, when it crashes, any part of what was not flushed.

It is harsher than a journaling filesystem: each name and each file's content that was not made durable is kept or lost
on its own, whatever order it was written in.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Collection
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

    def close(self) -> None:
        self.descriptor = -1


class CrashingDisk:
    """Stands for Disk; crashes before its call number `crash_at` that changes something."""

    def __init__(self, crash_at: int | None = None) -> None:
        self.path = "/srv/d1"
        self.root = Directory()
        self.crash_at = crash_at
        self.is_full = False  # then there is room for no new file
        self.steps = 0
        self.flushes = 0
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

    def open(self, path: str) -> Opened:
        return Opened(self._find(path))

    open_directory = open

    def create_unnamed(self, directory: str) -> Opened:
        self._directory(directory)
        if self.is_full:
            raise OSError(errno.ENOSPC, "No space left on device")
        self._change("create")
        return Opened(File())

    def size(self, file: Opened) -> int:
        return len(file.what.content)

    def attribute(self, file: Opened) -> bytes | None:
        return file.what.attribute

    def set_attribute(self, file: Opened, value: bytes) -> None:
        self._change("set_attribute")
        file.what.attribute = value

    def read(self, file: Opened, length: int, offset: int) -> bytes:
        return bytes(file.what.content[offset : offset + length])

    def drop_cached(self, file: Opened) -> None:
        pass

    def preallocate(self, file: Opened, length: int) -> None:
        self._change("preallocate")

    def write(self, file: Opened, chunk: bytes | memoryview, offset: int, hasher: object = None) -> None:
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

    def flush_names(self, directory: Opened, parents: Collection[str]) -> None:
        self.flush(directory, *(Opened(self._directory(path)) for path in parents))

    def flush_all(self, directory: Opened) -> None:
        self.flush(*map(Opened, self._all(self.root)))

    def make_directories(self, path: str) -> list[str]:
        changed = []
        at, directory = "", self.root
        for part in path.strip("/").split("/"):
            if part not in directory.names:
                self._change("mkdir", others_first=False)  # one call makes them all
                directory.names[part] = Directory()
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

    def rename(self, path: str, other: str) -> None:
        self._change("rename")
        parent, _, name = path.rpartition("/")
        directory, new = self._directory(parent), other.rpartition("/")[2]
        if name not in directory.names:
            raise FileNotFoundError(path)
        directory.names[new] = directory.names.pop(name)
        directory.renames.append((name, new))

    def replace_content(self, path: str, attribute: bytes) -> None:
        self._change("replace_content")
        file = self._find(path)
        assert isinstance(file, File)
        file.content, file.attribute = bytearray(), attribute

    def move_aside(self, path: str, target: str) -> str:
        raise AssertionError(f"{path} was found corrupt")

    def touch(self, path: str) -> None:
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
