"""Deleting where there is no room for a tombstone: the data file becomes the tombstone.

A file needs an inode, and a name of some length in its attribute a block; a full filesystem has neither. Renaming needs
nothing, and the name of a tombstone says all. Once that is durable the file is emptied, and so gives its room back.
"""

from __future__ import annotations

from contextlib import suppress

from objstore.object.engine import Location
from objstore.object.file_engine.directories import DirtyDirectories
from objstore.object.file_engine.disk import Disk
from objstore.object.file_engine.layout import hash_directory, suffix_directory
from objstore.object.file_engine.writing import PendingName
from objstore.object.metadata import TombstoneMetadata, encode
from objstore.object.versions import ObjectVersions, tombstone_name


class ConvertedFile:
    """A data file that has got a tombstone's name, which is visible and not yet durable."""

    __slots__ = ("_disk", "_path", "_pending_commit", "_tombstone")

    def __init__(self, disk: Disk, pending_commit: PendingName, path: str, tombstone: TombstoneMetadata) -> None:
        self._disk = disk
        self._pending_commit = pending_commit
        self._path = path
        self._tombstone = tombstone

    def make_durable(self) -> None:
        """See PendingCommit. Who still reads the body that is deleted finds it cut off."""
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
    path, name = hash_directory(location), tombstone_name(tombstone.timestamp)
    disk.touch(suffix_directory(location))
    try:
        directory = disk.open_directory(path)
        disk.rename(f"{path}/{current.data.name}", f"{path}/{name}")
    except FileNotFoundError:
        return None  # replaced meanwhile
    pending_commit = PendingName(disk, dirty, location, directory, "", name, current)
    return ConvertedFile(disk, pending_commit, f"{path}/{name}", tombstone)
