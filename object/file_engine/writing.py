"""How a file comes to stand in a hash directory.

The order makes a crash harmless at every point: the bytes and attributes of a file are durable before it gets
its name, and its name is durable before the files it makes obsolete lose theirs. A tombstone may get its name
at once, since the name says all.

The directories above that are new are flushed with the name, whoever made them; and so is the second name that a file
has while the part power is increased.
"""

from __future__ import annotations

import errno
from contextlib import suppress
from typing import Final

from xxhash import xxh3_128

from objstore.object.engine import AlreadyStored, Location
from objstore.object.file_engine.directories import DirtyDirectories, NextPartitionLinker
from objstore.object.file_engine.disk import Disk, OpenFile
from objstore.object.file_engine.layout import hash_directories, hash_directory, suffix_directory, temporary_directory
from objstore.object.metadata import ObjectMetadata, TombstoneMetadata, encode
from objstore.object.versions import ObjectVersions, data_name, resolve_versions, tombstone_name
from objstore.system.concurrency import monotonic

# Other processes remove directories they find empty; losing that race this often is not chance.
RACE_ATTEMPTS: Final = 10
# Up to this length a file shares its flush with others; a longer one would make them wait.
SHARED_FLUSH_BYTES_MAX: Final = 1024 * 1024
# Below this length a file is written in one piece, for which the filesystem finds room by itself.
PREALLOCATE_BYTES_MIN: Final = 1024 * 1024
# A new name follows the change of the directory that digests go by: see `suffixes`. This long after it, another is due.
ANNOUNCED_SECONDS: Final = 1.0


class PendingName:
    """A name that is visible and not yet durable."""

    __slots__ = ("_ahead", "_directory", "_dirty", "_disk", "_location", "_name", "_standing")

    def __init__(
        self,
        disk: Disk,
        dirty: DirtyDirectories,
        location: Location,
        directory: OpenFile,
        ahead: str,
        name: str,
        current: ObjectVersions,
    ) -> None:
        """`directory` is the hash directory, open; `ahead` the path of another that got the name as well, or ""."""
        self._disk = disk
        self._dirty = dirty
        self._location = location
        self._directory = directory
        self._ahead = ahead
        self._name = name
        self._standing = current

    def make_durable(self) -> None:
        above, ahead = self._dirty.above(hash_directory(self._disk.path, self._location)), self._ahead
        snapshot = self._dirty.snapshot((*above, *self._dirty.above(ahead)) if ahead else above)
        self._disk.flush_names(self._directory, [*snapshot, ahead] if ahead else snapshot)
        self._dirty.mark_durable(snapshot)
        self._directory.close()
        if self._standing.names:
            # Not what another writer has linked since: its name may not be durable yet, so it replaces nothing.
            for obsolete in resolve_versions((*self._standing.names, self._name)).obsolete:
                for path in hash_directories(self._disk.path, self._location):
                    self._disk.discard(f"{path}/{obsolete}")


class NewFile:
    """A file that has no name in its hash directory yet."""

    __slots__ = ("_ahead", "_dirty", "_disk", "_location", "_standing", "file")

    def __init__(
        self,
        disk: Disk,
        dirty: DirtyDirectories,
        ahead: NextPartitionLinker,
        location: Location,
        current: ObjectVersions,
    ) -> None:
        """It will replace `current`. Raises OSError."""
        self._disk = disk
        self._dirty = dirty
        self._ahead = ahead
        self._location = location
        self._standing = current
        self.file = self._create()

    def _create(self) -> OpenFile:
        directory = suffix_directory(self._disk.path, self._location)
        for _ in range(RACE_ATTEMPTS):
            try:
                unnamed = self._disk.create_unnamed(directory)
                break
            except FileNotFoundError:
                self._dirty.note(self._disk.make_directories(directory))
        else:
            raise FileNotFoundError(errno.ENOENT, "it is removed again and again", directory)
        return unnamed or self._disk.create_named(temporary_directory(self._disk.path, self._location))

    def publish(self, name: str) -> PendingName:
        """Link the finished file into the hash directory, made if need be. Raises AlreadyStored and OSError."""
        disk, path = self._disk, hash_directory(self._disk.path, self._location)
        made: list[str] = []
        if not self._standing.names:
            made = disk.make_directories(path)
            self._dirty.note(made)
        if not made:
            disk.touch(suffix_directory(self._disk.path, self._location))
        announced = monotonic()
        for _ in range(RACE_ATTEMPTS):
            try:
                directory = disk.open_directory(path)
                disk.link(self.file, directory, name)
                break
            except FileNotFoundError:
                made = disk.make_directories(path)
                self._dirty.note(made)
            except FileExistsError:
                raise AlreadyStored(self._location.name, name) from None
        else:
            raise FileNotFoundError(errno.ENOENT, "it is removed again and again", path)
        ahead = self._ahead.link(self.file, self._location, name)
        self.file.close()
        if monotonic() - announced > ANNOUNCED_SECONDS:
            disk.touch(suffix_directory(self._disk.path, self._location))
        return PendingName(disk, self._dirty, self._location, directory, ahead, name, self._standing)


class FileUpload:
    """A body on its way into a file that has no name yet."""

    __slots__ = ("_disk", "_hasher", "_new", "_writing", "size")

    def __init__(self, disk: Disk, new: NewFile, length: int | None) -> None:
        self._disk = disk
        self._hasher = xxh3_128()
        self._writing = False
        self.size = 0
        self._new: NewFile | None = new
        if length is not None and length >= PREALLOCATE_BYTES_MIN:
            disk.preallocate(new.file, length)

    def write(self, chunk: bytes | memoryview) -> None:
        assert self._new is not None
        self._writing = True
        self._disk.write(self._new.file, chunk, self.size, self._hasher)
        self._writing = False
        self.size += len(chunk)

    @property
    def checksum(self) -> str:
        return self._hasher.hexdigest()

    def commit(self, metadata: ObjectMetadata) -> PendingName:
        new, self._new = self._new, None
        assert new is not None
        encoded = encode(metadata, self.size)
        if encoded.trailer:
            self._disk.write(new.file, encoded.trailer, self.size)
        self._disk.set_attribute(new.file, encoded.attribute)
        if self.size > SHARED_FLUSH_BYTES_MAX:
            self._disk.flush_large(new.file)
        else:
            self._disk.flush(new.file)
        return new.publish(data_name(metadata.timestamp))

    def abort(self) -> None:
        # A write that was broken off may go on in its thread: then the file goes with the last reference to it.
        if self._new is not None and not self._writing:
            self._new.file.close()
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
    disk: Disk, dirty: DirtyDirectories, location: Location, current: ObjectVersions, tombstone: TombstoneMetadata
) -> ConvertedFile | None:
    """Make a tombstone of the data file; None where there is none, or it has other names. Raises OSError."""
    if current.data is None or location.others or location.linked:
        return None
    path, name = hash_directory(disk.path, location), tombstone_name(tombstone.timestamp)
    disk.touch(suffix_directory(disk.path, location))
    try:
        directory = disk.open_directory(path)
        disk.rename(f"{path}/{current.data.name}", f"{path}/{name}")
    except FileNotFoundError:
        return None  # replaced meanwhile
    pending_commit = PendingName(disk, dirty, location, directory, "", name, current)
    return ConvertedFile(disk, pending_commit, f"{path}/{name}", tombstone)
