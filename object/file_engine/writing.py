"""How a file comes to stand in a hash directory.

The order makes a crash harmless at every point: the bytes and attributes of a file are durable before it gets
its name, and its name is durable before the files it makes obsolete lose theirs. A tombstone may get its name
at once, since the name says all.

The directories above that are new are flushed with the name, whoever made them; and so is the second name that a file
has while the part power is increased.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from msgspec import structs
from xxhash import xxh3_128

from objstore.logs import Logger
from objstore.object.engine import AlreadyStored, Location
from objstore.object.file_engine.disk import Disk
from objstore.object.file_engine.layout import hash_directories, hash_directory, suffix_directory, temporary_directory
from objstore.object.file_names import WHOLE, DataFile, data_name
from objstore.object.metadata import ObjectMetadata, TombstoneMetadata, encode
from objstore.object.versions import ObjectVersions
from objstore.system import concurrency, files
from objstore.system.disk_calls import OpenFile, Pending

# A body announced as no longer than this is kept until its metadata is known, and written with that.
HELD_BYTES_MAX: Final = 64 * 1024
# A body that is kept without an object is given up after this.
KEPT_SECONDS: Final = 60.0
# Up to this length a file shares its flush with others; a longer one would make them wait.
SHARED_FLUSH_BYTES_MAX: Final = 1024 * 1024
# Below this length a file is written in one piece, for which the filesystem finds room by itself.
PREALLOCATE_BYTES_MIN: Final = 1024 * 1024


class NextPartitionLinker:
    """Gives new files a second name in the partition where they will belong once the part power has been increased.

    A write does not fail for want of it: until the increase the file is found by its first name, and after it in the
    former partition until the relinker has brought it home. What could not be linked is counted.
    """

    def __init__(self, disk: Disk, log: Logger, count_failure: Callable[[], None]) -> None:
        self._disk = disk
        self._log = log
        self._count_failure = count_failure

    def link(self, file: OpenFile, location: Location, name: str) -> list[Pending]:
        """Name a file in `location.linked` as well, if that is not empty; what to wait for until that is durable."""
        if not location.linked:
            return []
        ahead = structs.replace(location, partition=location.linked, others=(), linked="")
        path, above = hash_directory(self._disk.path, ahead), suffix_directory(self._disk.path, ahead)
        try:
            return [self._disk.publish(file, path, above, name, True)]
        except FileExistsError:
            return []  # the relinker was faster
        except OSError as error:
            self._log.warning("not linked into the next partition", name=location.name, path=path, error=str(error))
            self._count_failure()
            return []


class PendingName:
    """A name that is visible and not yet durable."""

    __slots__ = ("_disk", "_location", "_name", "_pending", "_standing")

    def __init__(
        self, disk: Disk, location: Location, name: str, current: ObjectVersions, pending: list[Pending]
    ) -> None:
        self._disk = disk
        self._location = location
        self._name = name
        self._standing = current
        self._pending = pending

    def make_durable(self) -> None:
        for each in self._pending:
            each.wait()
        if self._standing.names:
            # Not what another writer has linked since: its name may not be durable yet, so it replaces nothing.
            for obsolete in self._standing.obsolete_with(self._name):
                for path in hash_directories(self._disk.path, self._location):
                    self._disk.discard(f"{path}/{obsolete}")


class NewFile:
    """A file that has no name in its hash directory yet."""

    __slots__ = ("_above", "_ahead", "_directory", "_disk", "_location", "_standing", "file")

    def __init__(self, disk: Disk, ahead: NextPartitionLinker, location: Location, current: ObjectVersions) -> None:
        """It will replace `current`; it is made when it is first staged or written."""
        self._disk = disk
        self._ahead = ahead
        self._location = location
        self._standing = current
        self._above = suffix_directory(disk.path, location)
        self._directory = f"{self._above}/{location.hash}"
        self.file: OpenFile | None = None

    def stage(self, content: bytes, attribute: bytes | None, durable: bool) -> OpenFile:
        """Append content, and set the attribute; make both durable, or leave that for later. Raises OSError."""
        temporary = temporary_directory(self._disk.path, self._location)
        self.file = self._disk.stage(self.file, self._above, temporary, content, attribute, durable)
        return self.file

    def keep(self, name: str) -> None:
        """Name the file in the temporary directory, where `reopen` finds it for a while. Raises OSError."""
        assert self.file is not None
        directory = temporary_directory(self._disk.path, self._location)
        self._disk.publish(self.file, directory, self._disk.path, name, False)
        self.file.close()
        concurrency.spawn(self._forget_kept, f"{directory}/{name}")

    def _forget_kept(self, path: str) -> None:
        concurrency.sleep(KEPT_SECONDS)
        self._disk.discard(path)

    def reopen(self, name: str) -> int:
        """Go on with what `keep` has named; its size. Raises FileNotFoundError, OSError."""
        self.file = self._disk.reopen(f"{temporary_directory(self._disk.path, self._location)}/{name}")
        return self.file.size

    def publish(self, name: str) -> PendingName:
        """Link the finished file into the hash directory, made if need be. Raises AlreadyStored and OSError."""
        assert self.file is not None
        location, is_new = self._location, not self._standing.names
        try:
            pending = self._disk.publish(self.file, self._directory, self._above, name, is_new)
        except FileExistsError:
            raise AlreadyStored(location.name, name) from None
        ahead = self._ahead.link(self.file, location, name)
        self.file.close()
        return PendingName(self._disk, location, name, self._standing, [pending, *ahead])

    def write(self, name: str, content: bytes, attribute: bytes, data_first: bool = True) -> PendingName:
        """`stage` and `publish`: in one call for a file with one name. Raises AlreadyStored and OSError.

        The file is durable before it gets its name, unless that says all.
        """
        location, is_new = self._location, not self._standing.names
        if self.file is None and not location.linked:
            try:
                pending = self._disk.write(self._directory, self._above, name, content, attribute, is_new, data_first)
            except FileExistsError:
                raise AlreadyStored(location.name, name) from None
            if pending is not None:
                return PendingName(self._disk, location, name, self._standing, [pending])
        self.stage(content, attribute, durable=data_first)
        return self.publish(name)


class FileUpload:
    """A body on its way into a file that has no name yet. A short one waits in memory for its metadata."""

    __slots__ = ("_checksum", "_disk", "_hasher", "_held", "_length", "_new", "_version", "_writing", "size")

    def __init__(self, disk: Disk, new: NewFile, length: int | None, version: str, kept: str = "") -> None:
        """`kept`: what `keep` has given, to go on with that body, which is whole."""
        self._disk = disk
        self._version = version
        self._hasher = xxh3_128()
        self._writing = False
        self._length = length
        self._held = b""
        self.size = new.reopen(kept) if kept else 0
        self._checksum = kept.rpartition("-")[2]
        self._new: NewFile | None = new

    def write(self, chunk: bytes | memoryview) -> None:
        new = self._new
        assert new is not None
        if self._length is not None and max(self._length, self.size + len(chunk)) <= HELD_BYTES_MAX:
            self._hasher.update(chunk)
            self._held += bytes(chunk)
        else:
            self._writing = True
            file = new.file
            if file is None:
                file = new.stage(self._held, None, durable=False)
                if self._length is not None and self._length >= PREALLOCATE_BYTES_MIN:
                    self._disk.preallocate(file, self._length)
                self._held = b""
            self._disk.append(file, chunk, self.size, self._hasher)
            self._writing = False
        self.size += len(chunk)

    @property
    def checksum(self) -> str:
        return self._checksum or self._hasher.hexdigest()

    def keep(self) -> str:
        new, self._new = self._new, None
        assert new is not None
        if self._held or new.file is None:
            new.stage(self._held, None, durable=False)
        name = f"{files.temporary_name('kept')}-{self.checksum}"
        new.keep(name)
        return name

    def commit(self, metadata: ObjectMetadata, settled: bool = True) -> PendingName:
        new, self._new = self._new, None
        assert new is not None
        encoded = encode(metadata, self.size)
        content, index = self._held + encoded.trailer, WHOLE if metadata.fragment is None else metadata.fragment.index
        name = data_name(metadata.timestamp, index, settled, self._version)
        if self.size <= SHARED_FLUSH_BYTES_MAX:
            return new.write(name, content, encoded.attribute)
        self._disk.flush_large(new.stage(content, encoded.attribute, durable=False))
        return new.publish(name)

    def abort(self) -> None:
        # A write that was broken off may go on in its thread: then the file goes with the last reference to it.
        if self._new is not None and self._new.file is not None and not self._writing:
            self._disk.forget(self._new.file)
        self._new = None


class ConvertedFile:
    """A data file that has become a tombstone, since there is no room for one: its new name is not yet durable.

    A file needs an inode, and a name of some length in its attribute a block; a full filesystem has neither. Renaming
    needs nothing, and the name of a tombstone says all. Once that is durable, emptying the file gives its room back.
    """

    __slots__ = ("_disk", "_path", "_pending_commit", "_tombstone")

    def __init__(self, disk: Disk, pending_commit: PendingName, path: str, tombstone: TombstoneMetadata) -> None:
        self._disk = disk
        self._pending_commit = pending_commit
        self._path = path
        self._tombstone = tombstone

    def make_durable(self) -> None:
        self._pending_commit.make_durable()
        # It is a tombstone already: a newer write may have removed it, and who reads it knows what it was.
        with suppress(OSError):
            self._disk.replace_content(self._path, encode(self._tombstone, 0).attribute)


def convert(
    disk: Disk, location: Location, current: ObjectVersions, tombstone: TombstoneMetadata, name: str
) -> ConvertedFile | None:
    """Give the name of a tombstone to the data file that it deletes; None where there is none, or it has other names.

    Raises OSError.
    """
    data = current.line_of(name).data
    if data is None or location.others or location.linked:
        return None
    above = suffix_directory(disk.path, location)
    directory = f"{above}/{location.hash}"
    try:
        pending = disk.rename(directory, data.name, name, above)
    except FileNotFoundError:
        return None  # replaced meanwhile
    pending_commit = PendingName(disk, location, name, current, [pending])
    return ConvertedFile(disk, pending_commit, f"{directory}/{name}", tombstone)


def settle(disk: Disk, location: Location, current: ObjectVersions, pending: DataFile) -> PendingName:
    """Give a fragment its durable name. Raises FileNotFoundError, OSError."""
    name = data_name(pending.timestamp, pending.fragment, version=pending.version)
    renamed: list[Pending] = []
    for partition in dict.fromkeys(filter(None, (location.partition, location.linked, *location.others))):
        at = structs.replace(location, partition=partition)
        with suppress(FileNotFoundError):
            renamed.append(
                disk.rename(hash_directory(disk.path, at), pending.name, name, suffix_directory(disk.path, at))
            )
    if not renamed:
        raise FileNotFoundError(errno.ENOENT, "no such fragment", pending.name)
    return PendingName(disk, location, name, current, renamed)
