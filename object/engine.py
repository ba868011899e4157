"""What a storage engine is: the interface between the object server and its daemons, and bytes on a device.

An engine decides how objects lie on a device. Whatever it does, a version that has been made durable survives a crash,
one that has not is there whole or not at all, and nothing that is needed is removed before what replaces it is durable.

A device is opened once in each process and used through three interfaces: `ServingStore` answers requests,
`ReplicationStore` compares and exchanges versions, `MaintenanceStore` verifies and tidies. A version is known by its
name, such as "1234567890.12345.data" (see `file_names`): a value that devices compare, however an engine stores it.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib import import_module
from typing import Any, ClassVar, Final, NamedTuple, Protocol

from msgspec import Struct

from objstore.errors import StoreError
from objstore.http.messages import Body
from objstore.mounts import DeviceRoot, DeviceUnavailable
from objstore.object.agreement import AgreementTable
from objstore.object.file_names import DataFile
from objstore.object.metadata import ObjectMetadata, PostedMetadata, TombstoneMetadata
from objstore.object.versions import ObjectVersions
from objstore.policies import Policy
from objstore.runtime import Runtime
from objstore.system.concurrency import Event


class Location(Struct, frozen=True, gc=False):
    """Where one object lies on a device: the policy, the partition, the path's hash in hex.

    `name` is the object's path, "/account/container/object", which must be the one in its metadata.

    While the ring's part power is increased, versions of the object may also lie in the partitions `others`, and every
    new one is stored in `linked` as well, if that is not empty: see `part_power`.
    """

    policy: Policy
    partition: str
    hash: str
    name: str
    others: tuple[str, ...] = ()
    linked: str = ""


class Missing(Struct, frozen=True, gc=False):
    """Nothing to read; `timestamp` is that of the tombstone, removal mark or delete marker, "" without one.

    `version` is that of a kept version.
    """

    timestamp: str
    version: str = ""
    is_marker: bool = False


class ObjectInfo(Struct, frozen=True, gc=False):
    """An object's metadata as POSTs have left it. `timestamp` is the newest of the data's and the POST's.

    `data` is what was stored with the body: its headers and content type may be out of date. `version` is that of a
    kept version, "" in the plain line.
    """

    data: ObjectMetadata
    timestamp: str
    headers: dict[str, str]
    content_type: str
    content_type_timestamp: str
    version: str = ""


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

    info: ObjectInfo

    def read(self) -> bytes:
        """The whole body, verified; closes. Raises ObjectCorrupt, after which the object is quarantined."""

    def stream(self, start: int, stop: int) -> Body:
        """Bytes `start` to `stop` in chunks; closing the body closes this.

        The whole body is verified on the way: on damage, ObjectCorrupt is raised in place of the last chunk.
        """

    def close(self) -> None:
        """Let go of it; a second call does nothing."""


class PartitionDigests(Struct, frozen=True):
    """What a partition holds: digests by suffix, and the suffixes in which something could be forgotten."""

    suffixes: dict[str, str]
    untidy: frozenset[str]


# Who takes a device out of service on which nearly all objects are damaged, and what helps.
DEVICE_CHECK: Final = "object-device-check"
BAD_DEVICE_HINT: Final = (
    "copy the files again with their extended attributes (cp -a, rsync -aX, tar --xattrs), or empty the device: "
    "within five minutes it is in service again"
)
# Fewer objects say nothing of their device.
SAMPLE_MIN: Final = 4


class DeviceSample(Struct, frozen=True):
    """How many objects of a device were looked at, how many were damaged in the same way, and in which."""

    tried: int
    damaged: int
    damage: str

    @property
    def is_bad(self) -> bool:
        """Whether nearly all objects are damaged alike, so that it is the device that is wrong."""
        return self.tried >= SAMPLE_MIN and self.damaged >= 0.9 * self.tried

    @property
    def is_good(self) -> bool:
        """Whether most objects are sound, or there are none."""
        return self.damaged <= 0.5 * self.tried

    @property
    def reason(self) -> str:
        return f"{self.damaged} of {self.tried} objects that were looked at: {self.damage}"


class Exported(Struct, frozen=True):
    """A file of an object, to be stored elsewhere as it is: its metadata, and its body, None for one without."""

    metadata: ObjectMetadata | PostedMetadata | TombstoneMetadata
    body: StoredObject | None = None


class PendingCommit(Protocol):
    """A write that readers see and that a crash could still undo."""

    def make_durable(self) -> None:
        """Make it durable, then remove what it replaces. Raises OSError: then it may or may not last."""


class ObjectUpload(Protocol):
    """A body on its way in. Nothing of it is kept unless it is committed."""

    size: int

    @property
    def checksum(self) -> str:
        """xxh3-128, in hex, of what has been written."""

    def write(self, chunk: bytes | memoryview) -> None:
        """Hash the chunk and append it to the body, on a thread if it is large. Raises OSError."""

    def commit(self, metadata: ObjectMetadata, settled: bool = True) -> PendingCommit:
        """Make it durable and then visible; a fragment pending, if not `settled`. Raises AlreadyStored, OSError."""

    def keep(self) -> str:
        """Leave the whole body, without an object, for a minute; a name by which any process goes on with it."""

    def abort(self) -> None:
        """Forget it; does nothing after `commit` or `keep`."""


class PendingLook(NamedTuple):
    """A look at what is stored of an object, under way. `versions` waits for what it sees, and raises OSError."""

    done: Event[Any]
    versions: Callable[[], ObjectVersions]


class ServingStore(Protocol):
    """What requests of clients need. All methods may wait; all raise OSError when the device fails.

    A `version` is that of a kept version, "" or "null" for the plain line; None for the current one.
    """

    path: str

    def look(self, location: Location) -> ObjectVersions:
        """What is stored of the object, without opening it."""

    def begin_look(self, location: Location) -> PendingLook:
        """`look`, for a caller who has something else to do meanwhile."""

    def open(
        self,
        location: Location,
        current: ObjectVersions | None = None,
        read_max: int = 0,
        version: str | None = None,
    ) -> StoredObject | Missing:
        """A version for reading, given `current` if the caller has just looked; raises ObjectCorrupt.

        A caller that will `read` a body of up to `read_max` bytes says so: it is fetched at once.
        """

    def examine(
        self, location: Location, version: str | None = None, read_max: int = 0
    ) -> tuple[ObjectVersions, StoredObject | None]:
        """`look` and `open` at once; no object where there is none, or it is damaged and was quarantined."""

    def create(
        self, location: Location, current: ObjectVersions, length: int | None, version: str = "", kept: str = ""
    ) -> ObjectUpload:
        """Begin a body beside `current`, of a kept `version` or to replace what there is of the plain line.

        `length` is announced, None if not known. Or go on with one that was `kept`; FileNotFoundError if it is gone.
        """

    def write_tombstone(
        self, location: Location, current: ObjectVersions, tombstone: TombstoneMetadata, name: str = ""
    ) -> PendingCommit:
        """Mark the object as deleted at the tombstone's timestamp. Raises AlreadyStored.

        The `name` of a removal mark or delete marker says which it is; without one, the plain line is deleted.
        """

    def write_metadata(
        self, location: Location, current: ObjectVersions, posted: PostedMetadata, version: str = ""
    ) -> PendingCommit:
        """Lay new metadata over a version. Raises AlreadyStored."""

    def settle(self, location: Location, current: ObjectVersions, pending: DataFile) -> PendingCommit:
        """Give a fragment of `current` that is pending its durable name. Raises FileNotFoundError if it is gone."""

    def quarantine(self, location: Location, reason: str, version: str | None = None) -> None:
        """Move a version, or all of the object for None, to where nothing but an operator finds it."""


class ReplicationStore(Protocol):
    """What devices compare and exchange. Methods block, but for `export` and `make_durable`; all raise OSError."""

    def partitions(self, policy: Policy) -> list[str]:
        """The numbers of the partitions that hold anything, in no order."""

    def surface(self, policy: Policy) -> object:
        """What shows, at next to no cost, that partitions came or went, or that a file was found missing."""

    def suffixes(self, policy: Policy, partition: str, changed_since: float = 0.0) -> list[str]:
        """The suffixes (last three digits of hashes) of which a partition may hold anything.

        Those of which nothing came or went since a moment, in seconds since the epoch, may be left out.
        """

    def digests(
        self, policy: Policy, partition: str, now: float, reclaim_before: str, part_power: int | None = None
    ) -> PartitionDigests:
        """A digest for each suffix of a partition; equal exactly where two devices hold the same versions.

        Objects of which only traces older than the timestamp `reclaim_before` are left do not count, nor does what lies
        in the partition by another power than `part_power`, if that is given. `now` is in seconds since the epoch.
        """

    def objects(
        self, policy: Policy, partition: str, suffix: str, part_power: int | None = None
    ) -> dict[str, ObjectVersions]:
        """What there is of each object of a suffix, by its hash; by a part power, of those that it puts there."""

    def versions(self, policy: Policy, partition: str, digest: str) -> ObjectVersions:
        """What there is of one object in one partition."""

    def export(self, policy: Policy, partition: str, digest: str, name: str) -> Exported | None:
        """One version of an object as it is stored, None when it is not there; raises ObjectCorrupt."""

    def remove(self, policy: Policy, partition: str, digest: str, names: Iterable[str]) -> None:
        """Remove versions of an object that other devices hold, or that nobody needs."""

    def make_durable(self, policy: Policy, partition: str) -> None:
        """Make durable all versions that can be seen now on the device, if it has the partition."""


class MaintenanceStore(Protocol):
    """What daemons need. Methods block, but for `verify`, `set_aside` and `sample`; all raise OSError."""

    def verify(
        self, policy: Policy, partition: str, digest: str, name: str, spend: Callable[[int], None] | None
    ) -> ObjectMetadata | PostedMetadata | TombstoneMetadata | None:
        """The metadata of a version whose every byte has been read and found right, None when it is not there.

        `spend` is told how many bytes come next and may wait; without it the body is not read, only measured. What was
        not in the page cache is not left there. Raises ObjectCorrupt.
        """

    def notice_changes(self, policy: Policy, partition: str, suffix: str) -> bool:
        """Whether files in a suffix came or went otherwise than by the engine; its next digest is computed anew then.

        What replication may compare instead, so that it brings back what is missing. May be wrong, to no harm.
        """

    def set_strays_aside(self, policy: Policy, partition: str, suffix: str) -> int:
        """Quarantine what lies in a suffix and cannot be found by anybody; how many."""

    def set_aside(self, location: Location, reason: str, version: str | None = None) -> None:
        """Quarantine what is damaged. Raises DeviceUnavailable if it is the device that is wrong: then it stays."""

    def sample(self, policy: Policy, hash_of: Callable[[str], str] | None = None) -> DeviceSample:
        """Look at the metadata of some objects; with `hash_of` a path, also whether they are in their places."""

    def forget_uploads(self, policy: Policy, before: float) -> int:
        """Remove what uploads have left that were broken off before a moment, in seconds; how many."""

    def link(self, policy: Policy, source: str, target: str, digest: str, names: Iterable[str]) -> list[str]:
        """Let versions of an object that one partition holds be found in another as well, not durably yet.

        Those that are gone by now are passed over. Returns those whose names stand for other versions there.
        """


class DeviceStorage(ServingStore, ReplicationStore, MaintenanceStore, Protocol):
    """An open device, `path` being its folder."""

    def close(self) -> None:
        """Let go of the device, which goes out of service; nothing of it is used afterwards."""


OpenDevice = Callable[[str], DeviceStorage]
OpenAgreement = Callable[[str], AgreementTable]


class StorageEngine:
    """The devices of one process, by their folders; each is opened when it is first used, and again after `close`."""

    def __init__(self, open_device: OpenDevice, open_agreement: OpenAgreement) -> None:
        self._open_device = open_device
        self._open_agreement = open_agreement
        self._opened: dict[str, DeviceStorage] = {}
        self._agreements: dict[str, AgreementTable] = {}

    def device(self, path: str) -> DeviceStorage:
        """The storage of a device that is in service. Raises OSError."""
        storage = self._opened.get(path)
        if storage is None:
            storage = self._opened[path] = self._open_device(path)
        return storage

    def in_service(self, devices: DeviceRoot, name: str) -> DeviceStorage:
        """The storage of a device by its name; one that has gone out of service is closed. Raises DeviceUnavailable."""
        try:
            return self.device(devices.path(name))
        except DeviceUnavailable:
            self.close(f"{devices.root}/{name}")
            raise

    def agreement(self, path: str) -> AgreementTable:
        """The floors of a device that is in service."""
        table = self._agreements.get(path)
        if table is None:
            table = self._agreements[path] = self._open_agreement(path)
        return table

    def close(self, path: str) -> None:
        storage, table = self._opened.pop(path, None), self._agreements.pop(path, None)
        if storage is not None:
            storage.close()
        if table is not None:
            table.close()


EngineFactory = Callable[[Runtime, int], OpenDevice]

_factories: dict[str, EngineFactory] = {}
# The engines that come with the program; importing one registers it.
BUILT_IN: Final = {"file": "objstore.object.file_engine"}


def register_engine(name: str, factory: EngineFactory) -> None:
    """Make an engine available under its name; `factory` takes the runtime and keep_cache_size in bytes."""
    _factories[name] = factory


def make_engine(name: str, runtime: Runtime, keep_cache_size: int) -> StorageEngine:
    """Bodies longer than `keep_cache_size` bytes do not stay in the page cache. Raises KeyError on unknown names."""
    if name not in _factories:
        import_module(BUILT_IN[name])
    return StorageEngine(
        _factories[name](runtime, keep_cache_size),
        lambda path: AgreementTable(path, runtime.clock, runtime.threads),
    )
