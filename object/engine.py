"""What a storage engine is: the one interface between the object server and its daemons, and bytes on a disk.

An engine decides how objects lie on a device. Whatever it does, a name that has been settled survives a crash, one that
has not is there whole or not at all, and nothing that is needed is removed before what replaces it is settled.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Protocol

from msgspec import Struct

from objstore.errors import StoreError
from objstore.http.messages import Body
from objstore.object.fileset import FileSet
from objstore.object.metadata import ObjectMetadata, PostedMetadata, TombstoneMetadata
from objstore.policies import Policy
from objstore.runtime import Runtime


class Location(Struct, frozen=True, gc=False):
    """Where one object lies: the device's folder, the policy, the partition, the path's hash in hex.

    `name` is the object's path, "/account/container/object", which must be the one in its metadata.
    """

    device: str
    policy: Policy
    partition: str
    hash: str
    name: str


class Missing(Struct, frozen=True, gc=False):
    """Nothing to read; `timestamp` is the tombstone's, "" without one."""

    timestamp: str


class Description(Struct, frozen=True, gc=False):
    """An object's metadata as POSTs have left it. `timestamp` is the newest of the data's and the POST's.

    `data` is what was stored with the body: its headers and content type may be out of date.
    """

    data: ObjectMetadata
    timestamp: str
    headers: dict[str, str]
    content_type: str
    content_type_timestamp: str


@dataclass(eq=False)
class AlreadyStored(StoreError):
    """Something of the same timestamp is there already."""

    message: ClassVar[str] = "{name} already has {version}"

    name: str
    version: str


@dataclass(eq=False)
class ObjectCorrupt(StoreError):
    """What is stored is damaged. It has been quarantined: to readers it is gone."""

    message: ClassVar[str] = "{name}: {reason}"

    name: str
    reason: str


class StoredObject(Protocol):
    """An object opened for reading; it stays whole while open, whatever replaces it."""

    description: Description

    def read(self) -> bytes:
        """The whole body, verified; closes. Raises ObjectCorrupt, after which the object is quarantined."""

    def stream(self, start: int, stop: int) -> Body:
        """Bytes `start` to `stop` in chunks; closing the body closes this.

        The whole body is verified on the way: on damage, ObjectCorrupt is raised in place of the last chunk.
        """

    def close(self) -> None:
        """Let go of it; a second call does nothing."""


class Unsettled(Protocol):
    """A write that readers see and that a crash could still undo."""

    def settle(self) -> None:
        """Make it durable, then remove what it replaces. Raises OSError: then it may or may not last."""


class Upload(Protocol):
    """A body on its way in. Nothing of it is kept unless it is committed."""

    size: int

    @property
    def checksum(self) -> str:
        """xxh3-128, in hex, of what has been written."""

    def write(self, chunk: bytes | memoryview) -> None:
        """Hash the chunk and append it to the body, on a thread if it is large. Raises OSError."""

    def commit(self, metadata: ObjectMetadata) -> Unsettled:
        """Make the body durable and then visible. Raises AlreadyStored and OSError."""

    def abort(self) -> None:
        """Forget it; does nothing after `commit`."""


class StorageEngine(Protocol):
    """How objects lie on a device. All methods may wait; all raise OSError when the device fails."""

    def look(self, location: Location) -> FileSet:
        """What is stored of the object, without opening it."""

    def open(self, location: Location, standing: FileSet | None = None) -> StoredObject | Missing:
        """The newest version for reading, given `standing` if the caller has just looked; raises ObjectCorrupt."""

    def create(self, location: Location, standing: FileSet, length: int | None) -> Upload:
        """Begin a new version that will replace `standing`; `length` is announced, None if not known."""

    def write_tombstone(self, location: Location, standing: FileSet, tombstone: TombstoneMetadata) -> Unsettled:
        """Mark the object as deleted at the tombstone's timestamp. Raises AlreadyStored."""

    def write_metadata(self, location: Location, standing: FileSet, posted: PostedMetadata) -> Unsettled:
        """Lay new metadata over the object. Raises AlreadyStored."""

    def suffix_digests(self, device: str, policy: Policy, partition: str) -> dict[str, str]:
        """A digest for each suffix of a partition; equal exactly where two devices hold the same versions."""

    def quarantine(self, location: Location, reason: str) -> None:
        """Move all versions of the object to where nothing but an operator finds them."""


EngineFactory = Callable[[Runtime, int], StorageEngine]

_factories: dict[str, EngineFactory] = {}


def register_engine(name: str, factory: EngineFactory) -> None:
    """Make an engine available under its name; `factory` takes the runtime and keep_cache_size in bytes."""
    _factories[name] = factory


def make_engine(name: str, runtime: Runtime, keep_cache_size: int) -> StorageEngine:
    """Bodies longer than `keep_cache_size` bytes do not stay in the page cache. Raises KeyError on unknown names."""
    return _factories[name](runtime, keep_cache_size)
