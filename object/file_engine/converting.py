"""Deleting where there is no room for a tombstone: the data file becomes the tombstone.

A file needs an inode, and a name of some length in its attribute a block; a full filesystem has neither. Renaming needs
nothing, and the name of a tombstone says all. Once that is durable the file is emptied, and so gives its room back.
"""

from __future__ import annotations

from contextlib import suppress

from objstore.object.engine import Location
from objstore.object.file_engine.disk import Disk
from objstore.object.file_engine.layout import hash_directory, suffix_directory
from objstore.object.file_engine.ledger import DirectoryLedger
from objstore.object.file_engine.writing import UnsettledName
from objstore.object.fileset import FileSet, tombstone_name
from objstore.object.metadata import TombstoneMetadata, encode


class ConvertedFile:
    """A data file that has got a tombstone's name, which is visible and not yet durable."""

    __slots__ = ("_disk", "_path", "_tombstone", "_unsettled")

    def __init__(self, disk: Disk, unsettled: UnsettledName, path: str, tombstone: TombstoneMetadata) -> None:
        self._disk = disk
        self._unsettled = unsettled
        self._path = path
        self._tombstone = tombstone

    def settle(self) -> None:
        """See Unsettled. Who still reads the body that is deleted finds it cut off."""
        self._unsettled.settle()
        # It is a tombstone already: a newer write may have removed it, and who reads it knows what it was.
        with suppress(OSError):
            self._disk.replace_content(self._path, encode(self._tombstone, 0).attribute)


def convert(
    disk: Disk, ledger: DirectoryLedger, location: Location, standing: FileSet, tombstone: TombstoneMetadata
) -> ConvertedFile | None:
    """Make a tombstone of the data file; None where there is none, or it has other names. Raises OSError."""
    if standing.data is None or location.others or location.linked:
        return None
    path, name = hash_directory(location), tombstone_name(tombstone.timestamp)
    disk.touch(suffix_directory(location))
    try:
        directory = disk.open_directory(path)
        disk.rename(f"{path}/{standing.data.name}", f"{path}/{name}")
    except FileNotFoundError:
        return None  # replaced meanwhile
    unsettled = UnsettledName(disk, ledger, location, directory, "", name, standing)
    return ConvertedFile(disk, unsettled, f"{path}/{name}", tombstone)
