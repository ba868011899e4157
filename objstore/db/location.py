"""Where the database of a resource lies on a device: DEVICE/FOLDER/PARTITION/SUFFIX/HASH/HASH.db"""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from objstore.paths import ResourcePath

SUFFIX_LENGTH: Final = 3  # of a hash: the name of the folder that gathers those that end alike
QUARANTINED: Final = "quarantined"


class Place(Struct, frozen=True, gc=False):
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
        """The database itself."""
        return f"{self.directory}/{self.hash}.db"

    @property
    def quarantine(self) -> str:
        """Where its folder goes when it is corrupt."""
        return f"{self.root}/{QUARANTINED}/{self.folder}/{self.hash}"


class Location(Place, frozen=True, gc=False):
    """The place of the database of a resource that is known by name."""

    device: str
    path: ResourcePath
