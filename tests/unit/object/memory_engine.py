"""A storage engine that keeps everything in memory: the second one, which shows that the interface asks for no files.

Versions of an object are entries of a dictionary by their names. Devices are shared by all engines of a process, as a
disk is by the processes of a machine. There are no directories, no links and no strays, and nothing to flush.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final

from msgspec import Struct
from xxhash import xxh3_128, xxh3_128_hexdigest

from objstore.object.engine import (
    AlreadyStored,
    DeviceSample,
    Exported,
    Location,
    Missing,
    ObjectCorrupt,
    ObjectInfo,
    OpenDevice,
    PartitionDigests,
    PendingCommit,
    PendingLook,
    register_engine,
)
from objstore.object.file_names import WHOLE, DataFile, MetaFile, data_name, meta_name, tombstone_name
from objstore.object.metadata import ObjectMetadata, PostedMetadata, TombstoneMetadata
from objstore.object.part_power import partition_of
from objstore.object.versions import Line, ObjectVersions, resolve_versions, suffix_digest
from objstore.policies import Policy
from objstore.runtime import Runtime
from objstore.system.concurrency import happened

NAME: Final = "memory"
Metadata = ObjectMetadata | PostedMetadata | TombstoneMetadata


class Version(Struct):
    """What is stored under one name."""

    metadata: Metadata
    body: bytes = b""


Key = tuple[int, str, str]  # policy index, partition, hash
Objects = dict[Key, dict[str, Version]]


class MemoryBody:
    """Bytes on the way out."""

    def __init__(self, content: bytes) -> None:
        self.length: int | None = len(content)
        self._content = content

    def __iter__(self) -> Iterator[bytes | memoryview]:
        yield self._content

    def close(self) -> None:
        """Nothing is held."""


class MemoryObject:
    """An opened version, which keeps its bytes whatever becomes of the device."""

    def __init__(self, info: ObjectInfo, body: bytes, quarantine: Callable[[str], ObjectCorrupt]) -> None:
        self.info = info
        self._body = body
        self._quarantine = quarantine

    def read(self) -> bytes:
        if xxh3_128_hexdigest(self._body) != self.info.data.checksum:
            raise self._quarantine("the body does not match its checksum")
        return self._body

    def stream(self, start: int, stop: int) -> MemoryBody:
        return MemoryBody(self.read()[start:stop])

    def close(self) -> None:
        """Nothing is held."""


class MemoryUpload:
    """A body on its way in."""

    def __init__(
        self, device: MemoryDevice, location: Location, current: ObjectVersions, version: str, kept: str
    ) -> None:
        self._device, self._location, self._current, self._version = device, location, current, version
        self._chunks: list[bytes] = []
        self._hasher = xxh3_128()
        self.size = 0
        if kept:
            if kept not in device.kept:
                raise FileNotFoundError(kept)
            self.write(device.kept.pop(kept))

    def write(self, chunk: bytes | memoryview) -> None:
        self._chunks.append(bytes(chunk))
        self._hasher.update(chunk)
        self.size += len(chunk)

    @property
    def checksum(self) -> str:
        return self._hasher.hexdigest()

    def commit(self, metadata: ObjectMetadata, settled: bool = True) -> PendingCommit:
        version = Version(metadata, b"".join(self._chunks))
        index = WHOLE if metadata.fragment is None else metadata.fragment.index
        name = data_name(metadata.timestamp, index, settled, self._version)
        return self._device.add(self._location, self._current, name, version)

    def keep(self) -> str:
        name = f"kept-{len(self._device.kept)}-{self.checksum}"
        self._device.kept[name] = b"".join(self._chunks)
        return name

    def abort(self) -> None:
        self._chunks.clear()


class MemoryCommit:
    """A version that is there, and has yet to remove what it replaces."""

    def __init__(self, device: MemoryDevice, location: Location, current: ObjectVersions, name: str) -> None:
        self._device, self._location, self._current, self._name = device, location, current, name

    def make_durable(self) -> None:
        obsolete = self._current.obsolete_with(self._name)
        for partition in (self._location.partition, *self._location.others):
            self._device.remove(self._location.policy, partition, self._location.hash, obsolete)


class MemoryDevice:
    """DeviceStorage says what each method does."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.objects_held: Objects = {}
        self.quarantined: Objects = {}
        self.kept: dict[str, bytes] = {}

    def _held(self, policy: Policy, partition: str, digest: str) -> dict[str, Version]:
        return self.objects_held.get((policy.index, partition, digest), {})

    def _of(self, location: Location) -> dict[str, Version]:
        found: dict[str, Version] = {}
        for partition in (*location.others, location.partition):
            found |= self._held(location.policy, partition, location.hash)
        return found

    def add(self, location: Location, current: ObjectVersions, name: str, version: Version) -> PendingCommit:
        """A new version, in the object's partition and in the next one if there is one."""
        if name in self._held(location.policy, location.partition, location.hash):
            raise AlreadyStored(location.name, name)
        for partition in filter(None, (location.partition, location.linked)):
            self.objects_held.setdefault((location.policy.index, partition, location.hash), {})[name] = version
        return MemoryCommit(self, location, current, name)

    def look(self, location: Location) -> ObjectVersions:
        return resolve_versions(self._of(location))

    def begin_look(self, location: Location) -> PendingLook:
        return PendingLook(happened(), lambda: self.look(location))

    def open(
        self,
        location: Location,
        current: ObjectVersions | None = None,
        read_max: int = 0,
        version: str | None = None,
    ) -> MemoryObject | Missing:
        held = self._of(location)
        found = (
            current if current is not None and current.data and current.data.name in held else resolve_versions(held)
        )
        line = found.current if version is None else found.line(version)
        if line.data is None:
            return Missing(line.timestamp, line.version, line.is_marker)
        return self._opened(location, held, line)

    def examine(
        self, location: Location, version: str | None = None, read_max: int = 0
    ) -> tuple[ObjectVersions, MemoryObject | None]:
        current, found = self.look(location), self.open(location, version=version)
        return current, None if isinstance(found, Missing) else found

    def _opened(self, location: Location, held: dict[str, Version], found: Line) -> MemoryObject:
        assert found.data is not None
        stored = held[found.data.name]
        data = stored.metadata
        assert isinstance(data, ObjectMetadata)
        headers, timestamp, content_type, typed_at = data.headers, data.timestamp, data.content_type, data.timestamp
        if found.meta is not None:
            posted = _posted(held, found.meta)
            headers, timestamp = posted.headers, posted.timestamp
            for each in filter(None, (found.meta, found.type_meta)):
                typed = _posted(held, each)
                if typed.content_type_timestamp > typed_at:
                    content_type, typed_at = typed.content_type, typed.content_type_timestamp
        info = ObjectInfo(data, timestamp, headers, content_type, typed_at, found.version)
        return MemoryObject(info, stored.body, lambda reason: self._corrupt(location, reason, found.version))

    def _corrupt(self, location: Location, reason: str, version: str) -> ObjectCorrupt:
        self.quarantine(location, reason, version)
        return ObjectCorrupt(location.name, reason)

    def create(
        self, location: Location, current: ObjectVersions, length: int | None, version: str = "", kept: str = ""
    ) -> MemoryUpload:
        return MemoryUpload(self, location, current, version, kept)

    def settle(self, location: Location, current: ObjectVersions, pending: DataFile) -> PendingCommit:
        name = data_name(pending.timestamp, pending.fragment, True, pending.version)
        found = [
            held
            for partition in filter(None, (location.partition, location.linked, *location.others))
            if pending.name in (held := self._held(location.policy, partition, location.hash))
        ]
        if not found:
            raise FileNotFoundError(pending.name)
        for held in found:
            held[name] = held.pop(pending.name)
        return MemoryCommit(self, location, current, name)

    def write_tombstone(
        self, location: Location, current: ObjectVersions, tombstone: TombstoneMetadata, name: str = ""
    ) -> PendingCommit:
        return self.add(location, current, name or tombstone_name(tombstone.timestamp), Version(tombstone))

    def write_metadata(
        self, location: Location, current: ObjectVersions, posted: PostedMetadata, version: str = ""
    ) -> PendingCommit:
        name = meta_name(posted.timestamp, posted.content_type_timestamp, version)
        return self.add(location, current, name, Version(posted))

    def quarantine(self, location: Location, reason: str, version: str | None = None) -> None:
        for partition in (location.partition, *location.others):
            key = (location.policy.index, partition, location.hash)
            held = self.objects_held.get(key, {})
            names = list(held) if version is None else resolve_versions(held).line(version).names
            for name in names:
                self.quarantined.setdefault(key, {})[name] = held.pop(name)
            if not held:
                self.objects_held.pop(key, None)

    def set_aside(self, location: Location, reason: str, version: str | None = None) -> None:
        self.quarantine(location, reason, version)

    def sample(self, policy: Policy, hash_of: Callable[[str], str] | None = None) -> DeviceSample:
        return DeviceSample(0, 0, "")

    def partitions(self, policy: Policy) -> list[str]:
        return list({partition for index, partition, _ in self.objects_held if index == policy.index})

    def surface(self, policy: Policy) -> object:
        return frozenset(self.partitions(policy))

    def notice_changes(self, policy: Policy, partition: str, suffix: str) -> bool:
        return False  # nobody but the engine can change them

    def suffixes(self, policy: Policy, partition: str, changed_since: float = 0.0) -> list[str]:
        return list({key[2][-3:] for key in self.objects_held if key[:2] == (policy.index, partition)})

    def digests(
        self, policy: Policy, partition: str, now: float, reclaim_before: str, part_power: int | None = None
    ) -> PartitionDigests:
        found = {
            suffix: suffix_digest(self.objects(policy, partition, suffix, part_power), reclaim_before)
            for suffix in self.suffixes(policy, partition)
        }
        return PartitionDigests(
            {suffix: each.digest for suffix, each in found.items() if each.digest},
            frozenset(suffix for suffix, each in found.items() if each.untidy),
        )

    def objects(
        self, policy: Policy, partition: str, suffix: str, part_power: int | None = None
    ) -> dict[str, ObjectVersions]:
        return {
            digest: resolve_versions(versions)
            for (index, number, digest), versions in self.objects_held.items()
            if (index, number) == (policy.index, partition)
            and digest.endswith(suffix)
            and (part_power is None or partition_of(digest, part_power) == partition)
        }

    def versions(self, policy: Policy, partition: str, digest: str) -> ObjectVersions:
        return resolve_versions(self._held(policy, partition, digest))

    def export(self, policy: Policy, partition: str, digest: str, name: str) -> Exported | None:
        version = self._held(policy, partition, digest).get(name)
        if version is None:
            return None
        if not isinstance(version.metadata, ObjectMetadata):
            return Exported(version.metadata)
        location = Location(policy, partition, digest, version.metadata.name)
        return Exported(version.metadata, self._opened(location, {name: version}, resolve_versions([name]).current))

    def remove(self, policy: Policy, partition: str, digest: str, names: Iterable[str]) -> None:
        key = (policy.index, partition, digest)
        held = self.objects_held.get(key, {})
        for name in names:
            held.pop(name, None)
        if not held:
            self.objects_held.pop(key, None)

    def make_durable(self, policy: Policy, partition: str) -> None:
        """Memory is as durable as it gets."""

    def verify(
        self, policy: Policy, partition: str, digest: str, name: str, spend: Callable[[int], None] | None
    ) -> Metadata | None:
        version = self._held(policy, partition, digest).get(name)
        if version is None:
            return None
        if isinstance(version.metadata, ObjectMetadata) and spend is not None:
            spend(len(version.body))
            location = Location(policy, partition, digest, version.metadata.name)
            if xxh3_128_hexdigest(version.body) != version.metadata.checksum:
                raise self._corrupt(location, "damaged", resolve_versions([name]).current.version)
        return version.metadata

    def set_strays_aside(self, policy: Policy, partition: str, suffix: str) -> int:
        return 0

    def forget_uploads(self, policy: Policy, before: float) -> int:
        return 0

    def link(self, policy: Policy, source: str, target: str, digest: str, names: Iterable[str]) -> list[str]:
        held = self._held(policy, source, digest)
        there = self.objects_held.setdefault((policy.index, target, digest), {})
        wanted = {name: held[name] for name in names if name in held}
        taken = [name for name, version in wanted.items() if there.get(name, version) is not version]
        for name, version in wanted.items():
            there.setdefault(name, version)
        return taken

    def close(self) -> None:
        """Another engine of the process may have it open."""


def _posted(held: dict[str, Version], file: MetaFile) -> PostedMetadata:
    posted = held[file.name].metadata
    assert isinstance(posted, PostedMetadata)
    return posted


_devices: dict[str, MemoryDevice] = {}


def device_at(path: str) -> MemoryDevice:
    """The device with this folder, in all engines of the process."""
    return _devices.setdefault(path, MemoryDevice(path))


def _make(_runtime: Runtime, _keep_cache_size: int) -> OpenDevice:
    return device_at


register_engine(NAME, _make)
