"""How a file comes to stand in a hash directory.

The order makes a crash harmless at every point: the bytes and attributes of a file are durable before it gets
its name, and its name is durable before the files it makes obsolete lose theirs. A tombstone may get its name
at once, since the name says all.
"""

from typing import Final

from xxhash import xxh3_128

from objstore.object.engine import AlreadyStored, Location
from objstore.object.file_engine.disk import Disk, OpenFile
from objstore.object.file_engine.layout import hash_directory, temporary_directory
from objstore.object.fileset import FileSet, data_name, judge
from objstore.object.metadata import ObjectMetadata, encode

# Other processes remove a hash directory they find empty; losing that race this often is not chance.
LINK_ATTEMPTS: Final = 10
# Up to this length a file shares its flush with others; a longer one would make them wait.
SHARED_FLUSH_BYTES_MAX: Final = 1024 * 1024
# Below this length a file is written in one piece, for which the filesystem finds room by itself.
PREALLOCATE_BYTES_MIN: Final = 1024 * 1024


class UnsettledName:
    """A name that is visible and not yet durable."""

    __slots__ = ("_changed", "_disk", "_name", "_path", "_standing")

    def __init__(self, disk: Disk, path: str, name: str, standing: FileSet, changed: list[OpenFile]) -> None:
        """`changed`: the hash directory, open, and every directory above it that got a new name."""
        self._disk = disk
        self._path = path
        self._name = name
        self._standing = standing
        self._changed = changed

    def settle(self) -> None:
        """See Unsettled."""
        self._disk.flush(*self._changed)
        for directory in self._changed:
            directory.close()
        if self._standing.names:
            # Not what another writer has linked since: its name may not be durable yet, so it replaces nothing.
            for obsolete in judge((*self._standing.names, self._name)).obsolete:
                self._disk.unlink(f"{self._path}/{obsolete}")


def publish(disk: Disk, location: Location, file: OpenFile, name: str, standing: FileSet) -> UnsettledName:
    """Link a finished file into its hash directory, made if need be. Raises AlreadyStored and OSError."""
    path = hash_directory(location)
    changed = [] if standing.names else disk.make_directories(path)
    for attempt in range(1, LINK_ATTEMPTS + 1):
        try:
            directory = disk.open_directory(path)
            disk.link(file, directory, name)
            break
        except FileNotFoundError:
            if attempt == LINK_ATTEMPTS:
                raise
            changed += disk.make_directories(path)
        except FileExistsError:
            raise AlreadyStored(location.name, name) from None
    file.close()
    return UnsettledName(disk, path, name, standing, [directory, *(disk.open_directory(parent) for parent in changed)])


class FileUpload:
    """A body on its way into a file that has no name yet."""

    __slots__ = ("_disk", "_file", "_hasher", "_location", "_standing", "size")

    def __init__(self, disk: Disk, location: Location, standing: FileSet, length: int | None) -> None:
        self._disk = disk
        self._location = location
        self._standing = standing
        self._hasher = xxh3_128()
        self.size = 0
        self._file: OpenFile | None = disk.create(temporary_directory(location))
        if length is not None and length >= PREALLOCATE_BYTES_MIN:
            disk.preallocate(self._file, length)

    def write(self, chunk: bytes | memoryview) -> None:
        """See Upload."""
        assert self._file is not None
        self._disk.write(self._file, chunk, self.size, self._hasher)
        self.size += len(chunk)

    @property
    def checksum(self) -> str:
        """See Upload."""
        return self._hasher.hexdigest()

    def commit(self, metadata: ObjectMetadata) -> UnsettledName:
        """See Upload."""
        disk, file = self._disk, self._file
        assert file is not None
        self._file = None
        encoded = encode(metadata, self.size)
        if encoded.trailer:
            disk.write(file, encoded.trailer, self.size)
        disk.set_attribute(file, encoded.attribute)
        if self.size > SHARED_FLUSH_BYTES_MAX:
            disk.flush_large(file)
        else:
            disk.flush(file)
        return publish(disk, self._location, file, data_name(metadata.timestamp), self._standing)

    def abort(self) -> None:
        """See Upload. The file goes with its last reference: a thread may still be writing to it."""
        self._file = None
