"""What the modules of the program get in place of `os`: the real calls, on disks that crash, fill up and fail."""

from __future__ import annotations

import builtins
import os
from collections.abc import Callable
from random import Random
from typing import Any, Final

from tests.simulation.disk import SimulatedDisk
from tests.simulation.hub import Owner, current_owner
from tests.simulation.opened import Opened, OpenedElsewhere, Scan, SimulatedPaths, Space, unlock

KEY_LENGTH: Final = len("n1/devices/d11")
WRITING: Final = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
PROCESS_NUMBER: Final = 7
SHORT_WRITE_RATE: Final = 0.002


class SimulatedCalls:
    """Stands for the module os. `before_change` is called with the disk that is about to be changed."""

    def __init__(self, root: str, random: Random, now: Callable[[str], float]) -> None:
        """`now` gives the time on a node's clock."""
        self.path = SimulatedPaths(self.disk_of)
        self.disks: dict[str, SimulatedDisk] = {}
        self.opened: dict[int, Opened] = {}
        self._elsewhere = OpenedElsewhere()
        self.before_change: Callable[[SimulatedDisk, str], None] = lambda disk, call: None
        self.changes = 0
        self._start = len(root) + 1
        self._root = root
        self._random = random
        self._now = now
        self._undo_copies = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def disk_of(self, path: Any) -> SimulatedDisk | None:
        """The device that a path lies on; None if it is none of a node's."""
        if type(path) is not str:
            path = os.fspath(path) if not isinstance(path, int) else ""
        if not path.startswith(self._root):
            return None
        return self.disks.get(path[self._start : self._start + KEY_LENGTH])

    def let_go(self, owner: Owner) -> None:
        """A node has died: its locks are free."""
        for descriptor, opened in self.opened.items():
            if opened.owner is owner:
                unlock(descriptor)
        self._elsewhere.let_go(owner)

    def getpid(self) -> int:
        return PROCESS_NUMBER

    def urandom(self, size: int) -> bytes:
        return self._random.randbytes(size)

    def statvfs(self, path: str) -> Any:
        disk = self.disk_of(path)
        if disk is None:
            return os.statvfs(path)
        os.stat(path)
        free = 0 if disk.state == "full" else 10**8
        return Space(2 * 10**8, free, free)

    # Reading

    def listdir(self, path: Any = ".") -> list[str]:
        disk = self.opened[path].disk if isinstance(path, int) else self.disk_of(path)
        names = sorted(os.listdir(path))
        if disk is not None:
            disk.refuse(writing=False)
            self._random.shuffle(names)
        return names

    def scandir(self, path: Any = ".") -> Scan:
        disk = self.disk_of(path)
        with os.scandir(path) as found:
            entries = sorted(found, key=lambda entry: entry.name)
        if disk is not None:
            disk.refuse(writing=False)
            self._random.shuffle(entries)
        return Scan(entries)

    def _reads(self, descriptor: int) -> None:
        opened = self.opened.get(descriptor)
        if opened is not None:
            opened.disk.refuse(writing=False)

    def read(self, descriptor: int, size: int) -> bytes:
        self._reads(descriptor)
        return os.read(descriptor, size)

    def pread(self, descriptor: int, size: int, offset: int) -> bytes:
        self._reads(descriptor)
        return os.pread(descriptor, size, offset)

    def preadv(self, descriptor: int, buffers: Any, offset: int, flags: int = 0) -> int:
        self._reads(descriptor)
        return os.preadv(descriptor, buffers, offset, flags)

    # Opening

    def open(self, path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        if dir_fd is not None:
            path = f"{self._path_of(dir_fd)}/{path}"
        disk = self.disk_of(path)
        if disk is None:
            descriptor = os.open(path, flags, mode)
            self.opened.pop(descriptor, None)  # left by a file object, which closes by itself
            self._elsewhere.opened(descriptor, current_owner(), path)
            return descriptor
        unnamed = flags & os.O_TMPFILE == os.O_TMPFILE
        if not flags & WRITING and not unnamed:
            disk.refuse(writing=False)
            return self._remember(os.open(path, flags), disk, path)
        self._before(disk, "open")
        there = not unnamed and os.path.lexists(path)
        if there and flags & os.O_TRUNC:
            self._about_to_truncate(disk, path)
        before = 0 if unnamed or there else self._mtime(os.path.dirname(path))
        descriptor = self._remember(os.open(path, flags, mode), disk, path)
        inode = self.opened[descriptor].inode
        now = self._now(disk.node)
        if not unnamed and not there:
            self._named(disk, path, before, (inode,), lambda: os.unlink(path))
        if not self.opened[descriptor].is_directory:
            disk.writing(inode, descriptor, now, new=not there)
            self._touch(descriptor, now)
        return descriptor

    def _about_to_truncate(self, disk: SimulatedDisk, path: str) -> None:
        descriptor = os.open(path, os.O_RDWR)
        disk.writing(os.fstat(descriptor).st_ino, descriptor, self._now(disk.node), new=False)
        os.close(descriptor)

    def _remember(self, descriptor: int, disk: SimulatedDisk, path: str) -> int:
        status = os.fstat(descriptor)
        is_directory = status.st_mode & 0o170000 == 0o040000
        self.opened[descriptor] = Opened(disk, status.st_ino, path, current_owner(), is_directory)
        return descriptor

    def open_file(self, file: Any, mode: str = "r", *arguments: Any, **options: Any) -> Any:
        """Stands for the function open."""
        disk = self.disk_of(file) if not isinstance(file, int) else None
        if disk is None:
            return builtins.open(file, mode, *arguments, **options)
        if set(mode) & set("wax+"):
            return builtins.open(file, mode, *arguments, opener=self.open, **options)
        disk.refuse(writing=False)
        return builtins.open(file, mode, *arguments, **options)

    def dup(self, descriptor: int) -> int:
        copy = os.dup(descriptor)
        if descriptor in self.opened:
            self.opened[copy] = self.opened[descriptor]
        return copy

    def close(self, descriptor: int) -> None:
        self.opened.pop(descriptor, None)
        self._elsewhere.closed(descriptor)
        os.close(descriptor)

    # Writing

    def _before(self, disk: SimulatedDisk, call: str) -> None:
        owner = current_owner()
        if owner is not None:
            owner.check()
        self.changes += 1
        if owner is not None:
            self.before_change(disk, call)
        disk.refuse(writing=True)

    def _writes(self, descriptor: int, call: str) -> None:
        opened = self.opened.get(descriptor)
        if opened is None:
            return
        self._before(opened.disk, call)
        now = self._now(opened.disk.node)
        opened.disk.writing(opened.inode, descriptor, now, new=False)

    def _written(self, descriptor: int) -> None:
        """After a write, which has set the file's time to the real one."""
        opened = self.opened.get(descriptor)
        if opened is not None:
            self._touch(descriptor, self._now(opened.disk.node))
        elif path := self._elsewhere.path_of(descriptor):
            self.utime(path)

    def write(self, descriptor: int, content: Any) -> int:
        self._writes(descriptor, "write")
        if len(content) > 1 and descriptor in self.opened and self._random.random() < SHORT_WRITE_RATE:
            content = memoryview(content)[: len(content) // 2]
        written = os.write(descriptor, content)
        self._written(descriptor)
        return written

    def pwrite(self, descriptor: int, content: Any, offset: int) -> int:
        self._writes(descriptor, "pwrite")
        written = os.pwrite(descriptor, content, offset)
        self._written(descriptor)
        return written

    def ftruncate(self, descriptor: int, length: int) -> None:
        self._writes(descriptor, "ftruncate")
        os.ftruncate(descriptor, length)
        self._written(descriptor)

    def fsync(self, descriptor: int) -> None:
        opened = self.opened.get(descriptor)
        if opened is None:
            os.fsync(descriptor)
            return
        owner = current_owner()
        if owner is not None:
            owner.check()
            self.before_change(opened.disk, "fsync")
        if opened.disk.state == "failing":
            opened.disk.refuse(writing=False)
        opened.disk.flushed(opened.inode, opened.disk.position(opened.inode))

    fdatasync = fsync

    def set_attribute(self, descriptor: int, name: str, value: bytes, real: Any) -> None:
        """An extended attribute; `real` is the module xattr."""
        opened = self.opened.get(descriptor)
        if opened is None:
            real.setxattr(descriptor, name, value)
            return
        self._before(opened.disk, "setxattr")
        own = os.open(f"/proc/self/fd/{descriptor}", os.O_RDONLY | os.O_CLOEXEC)
        try:
            before = os.getxattr(descriptor, name)
        except OSError:
            before = None

        def undo() -> None:
            if before is None:
                os.removexattr(own, name)
            else:
                os.setxattr(own, name, before)
            os.close(own)

        real.setxattr(descriptor, name, value)
        directory = "" if not opened.is_directory else opened.path
        opened.disk.changed(self._now(opened.disk.node), directory, 0, (opened.inode,), undo, lambda: os.close(own))

    # Names

    def _path_of(self, descriptor: int) -> str:
        return os.readlink(f"/proc/self/fd/{descriptor}")

    def _mtime(self, directory: str) -> int:
        return os.stat(directory).st_mtime_ns

    def _touch(self, path: Any, now: float) -> None:
        moment = int(now * 1e9)
        os.utime(path, ns=(moment, moment))

    def _named(
        self,
        disk: SimulatedDisk,
        path: str,
        before: int,
        inodes: tuple[int, ...],
        undo: Callable[[], None],
        forget: Callable[[], None] | None = None,
    ) -> None:
        """A name in the directory of `path` has come, gone, or changed."""
        directory = os.path.dirname(path)
        now = self._now(disk.node)
        self._touch(directory, now)
        disk.changed(now, directory, before, (os.stat(directory).st_ino, *inodes), undo, forget)
        disk.write_back(now)

    def _keep_for_undo(self, disk: SimulatedDisk, path: str) -> str:
        """Keep a file that is about to lose its name, in case that the loss is lost."""
        self._undo_copies += 1
        undo_copy = f"{disk.undo_folder}/{self._undo_copies}"
        os.link(path, undo_copy, follow_symlinks=False)
        return undo_copy

    def link(self, source: str, target: str, *, dst_dir_fd: int | None = None, follow_symlinks: bool = True) -> None:
        path = target if dst_dir_fd is None else f"{self._path_of(dst_dir_fd)}/{target}"
        disk = self.disk_of(path)
        if disk is None:
            os.link(source, target, dst_dir_fd=dst_dir_fd, follow_symlinks=follow_symlinks)
            return
        self._before(disk, "link")
        before = self._mtime(os.path.dirname(path))
        os.link(source, target, dst_dir_fd=dst_dir_fd, follow_symlinks=follow_symlinks)
        self._named(disk, path, before, (os.stat(path).st_ino,), lambda: os.unlink(path))

    def unlink(self, path: str) -> None:
        disk = self.disk_of(path)
        if disk is None:
            os.unlink(path)
            return
        self._before(disk, "unlink")
        status = os.lstat(path)
        if status.st_mode & 0o170000 == 0o040000:
            os.unlink(path)  # raises
        before = self._mtime(os.path.dirname(path))
        undo_copy = self._keep_for_undo(disk, path)
        os.unlink(path)
        self._named(
            disk, path, before, (status.st_ino,), lambda: os.rename(undo_copy, path), lambda: os.unlink(undo_copy)
        )

    remove = unlink

    def rename(self, source: str, target: str) -> None:
        disk = self.disk_of(source)
        if disk is None:
            os.rename(source, target)
            return
        self._before(disk, "rename")
        status = os.lstat(source)
        before, source_before = self._mtime(os.path.dirname(target)), self._mtime(os.path.dirname(source))
        replaced = os.path.isfile(target)
        undo_copy = self._keep_for_undo(disk, target) if replaced else ""
        os.rename(source, target)
        self._touch(os.path.dirname(source), self._now(disk.node))

        def undo() -> None:
            os.rename(target, source)
            os.utime(os.path.dirname(source), ns=(source_before, source_before))
            if undo_copy:
                os.rename(undo_copy, target)

        forget = (lambda: os.unlink(undo_copy)) if undo_copy else None
        inodes = (status.st_ino, os.stat(os.path.dirname(source)).st_ino)
        self._named(disk, target, before, inodes, undo, forget)

    replace = rename

    def mkdir(self, path: str, mode: int = 0o777) -> None:
        disk = self.disk_of(path)
        if disk is None:
            os.mkdir(path, mode)
            return
        self._before(disk, "mkdir")
        before = self._mtime(os.path.dirname(path))
        os.mkdir(path, mode)
        self._touch(path, self._now(disk.node))
        self._named(disk, path, before, (os.stat(path).st_ino,), lambda: _remove_tree(path))

    def makedirs(self, path: str, mode: int = 0o777, exist_ok: bool = False) -> None:
        if os.path.isdir(path) and exist_ok:
            return
        parent = os.path.dirname(path)
        if parent and not os.path.isdir(parent):
            self.makedirs(parent, exist_ok=True)
        self.mkdir(path, mode)

    def rmdir(self, path: str) -> None:
        disk = self.disk_of(path)
        if disk is None:
            os.rmdir(path)
            return
        self._before(disk, "rmdir")
        before, own = self._mtime(os.path.dirname(path)), self._mtime(path)
        os.rmdir(path)

        def undo() -> None:
            os.mkdir(path, 0o700)
            os.utime(path, ns=(own, own))

        self._named(disk, path, before, (), undo)

    def utime(self, path: Any, times: Any = None, *, ns: tuple[int, int] | None = None) -> None:
        disk = self.opened[path].disk if isinstance(path, int) and path in self.opened else self.disk_of(path)
        if disk is None:
            owner = current_owner()
            if owner is not None and times is None and ns is None:
                self._touch(path, self._now(owner.name.partition(".")[0]))
            else:
                os.utime(path, times, ns=ns) if ns is None else os.utime(path, ns=ns)
            return
        self._before(disk, "utime")
        if ns is not None:
            os.utime(path, ns=ns)
        elif times is not None:
            os.utime(path, times)
        else:
            self._touch(path, self._now(disk.node))


def _remove_tree(path: str) -> None:
    import shutil

    shutil.rmtree(path, ignore_errors=True)
