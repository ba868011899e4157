"""Where databases lie on a device, DEVICE/FOLDER/PARTITION/SUFFIX/HASH/HASH.db, and walks through all of them."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Final, Protocol

from msgspec import Struct

from objstore.daemon import Worker
from objstore.mounts import DeviceRoot, DeviceUnavailable
from objstore.paths import ResourcePath
from objstore.runtime import Runtime
from objstore.system import files
from objstore.system.threads import HUNG_SECONDS

SUFFIX_LENGTH: Final = 3  # of a hash: the name of the folder that gathers those that end alike
QUARANTINED: Final = "quarantined"


class DatabaseLocation(Struct, frozen=True, gc=False):
    """The place of one database. `root` is the device's folder, `partition` a decimal number."""

    root: str
    folder: str
    partition: str
    hash: str

    @property
    def directory(self) -> str:
        """The folder that holds nothing else."""
        return f"{self.root}/{self.folder}/{self.partition}/{self.hash[-SUFFIX_LENGTH:]}/{self.hash}"

    @property
    def file(self) -> str:
        return f"{self.directory}/{self.hash}.db"

    @property
    def quarantine(self) -> str:
        """Where its folder goes when it is corrupt."""
        return f"{self.root}/{QUARANTINED}/{self.folder}/{self.hash}"

    @property
    def device_name(self) -> str:
        return self.root.rpartition("/")[2]

    @property
    def repair_mark(self) -> str:
        """The mark that it was quarantined here, and is to be fetched from another replica."""
        return self.mark(f"{self.folder}_to_repair")

    def mark(self, folder: str) -> str:
        """The empty file that marks it, in a folder of the device."""
        return f"{self.root}/{folder}/{self.partition}-{self.hash}"


class ResourceLocation(DatabaseLocation, frozen=True, gc=False):
    """The place of the database of a resource that is known by name."""

    device: str
    path: ResourcePath


HASH_LENGTH: Final = 32


class DatabaseWorker(Worker, Protocol):
    """A worker that takes several databases in a step."""

    @property
    def databases_per_step(self) -> int: ...


def leave_mark(path: str) -> None:
    """Mark a database. Blocks; raises OSError."""
    if os.path.exists(path):
        return
    files.make_directories(os.path.dirname(path))
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, files.FILE_MODE))


def marked_locations(root: str, marks: str, folder: str) -> list[DatabaseLocation]:
    """The databases of a kind that are marked in a folder of a device. Blocks; raises OSError."""
    found = []
    for name in files.list_directory(f"{root}/{marks}"):
        partition, dash, digest = name.partition("-")
        if dash and partition.isdecimal():
            found.append(DatabaseLocation(root, folder, partition, digest))
    return found


def device_roots(devices: DeviceRoot) -> list[str]:
    """The folders of the devices that are there. Raises OSError."""
    found = []
    for name in sorted(os.listdir(devices.root)):
        try:
            found.append(devices.path(name))
        except DeviceUnavailable:
            continue
    return found


class Walk:
    """One pass, from device to device in turns, the partitions of each in a random order.

    A pass that is broken off and begins anew so comes to other databases first. A device that fails, or hangs, leaves
    the pass (and `roots`), and holds up no other.
    """

    def __init__(self, devices: DeviceRoot, folder: str, runtime: Runtime) -> None:
        """Raises OSError."""
        self._folder = folder
        self._runtime = runtime
        self.roots = device_roots(devices)
        self._partitions: deque[tuple[str, str]] = deque()
        for root in [*self.roots]:
            names = self._ask(root, files.list_directory, f"{root}/{folder}")
            self._partitions.extend((root, name) for name in sorted(names) if name.isdecimal())
        runtime.random.shuffle(self._partitions)
        quarantined = [
            (root, name) for root in [*self.roots] for name in self._ask(root, _names, f"{root}/{QUARANTINED}/{folder}")
        ]
        self.surface = frozenset((*self._partitions, *quarantined))  # changes when one comes or goes as a whole
        self.total = len(self._partitions)
        self._places = self._all()

    @property
    def done(self) -> int:
        """How many partitions of `total` have been begun."""
        return self.total - len(self._partitions)

    def some(self, count: int) -> list[DatabaseLocation]:
        """The next databases, [] at the end; what cannot be read is left out."""
        return list(islice(self._places, count))

    def _all(self) -> Iterator[DatabaseLocation]:
        while self._partitions:
            root, partition = self._partitions.popleft()
            if root in self.roots:
                for digest in self._ask(root, _hashes, f"{root}/{self._folder}/{partition}"):
                    yield DatabaseLocation(root, self._folder, partition, digest)

    def _ask(self, root: str, list_names: Callable[[str], list[str]], path: str) -> list[str]:
        try:
            return self._runtime.threads.of(root).call_within(HUNG_SECONDS, list_names, path)
        except OSError as error:
            self._runtime.log.error("device failed", path=path, error=str(error) or "it does not answer")
            self.roots.remove(root)
            return []


def _hashes(partition: str) -> list[str]:
    names = (name for suffix in _names(partition) for name in _names(f"{partition}/{suffix}"))
    return [name for name in names if len(name) == HASH_LENGTH]


def _names(path: str) -> list[str]:
    try:
        return sorted(files.list_directory(path))
    except OSError:
        return []  # a stray file, or a disk that fails: its own requests will say so
