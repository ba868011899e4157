"""The engine that keeps each object in a file of its own."""

import errno
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from random import Random
from typing import Final, TypeVar

from msgspec import structs

from objstore.logs import Logger
from objstore.mounts import NO_ROOM
from objstore.object.engine import (
    DeviceSample,
    Exported,
    Location,
    Missing,
    ObjectCorrupt,
    ObjectInfo,
    PartitionDigests,
    PendingCommit,
    PendingLook,
)
from objstore.object.file_engine.disk import Disk
from objstore.object.file_engine.layout import (
    digests_folder,
    digests_record,
    hash_directories,
    hash_directory,
    quarantine_directory,
)
from objstore.object.file_engine.quarantine import QuarantineGuard, take_sample
from objstore.object.file_engine.reading import FileObject
from objstore.object.file_engine.scrubbing import AnyMetadata, Scrub, check_stored, is_hash_of, read_tombstone
from objstore.object.file_engine.suffixes import Inventory
from objstore.object.file_engine.writing import FileUpload, NewFile, NextPartitionLinker, PendingName, convert, settle
from objstore.object.file_names import (
    NULL,
    DataFile,
    DeleteMarker,
    MetaFile,
    Tombstone,
    meta_name,
    parse_name,
    tombstone_name,
)
from objstore.object.metadata import (
    MetadataCorrupt,
    ObjectMetadata,
    PostedMetadata,
    Stored,
    TombstoneMetadata,
    Trailer,
    decode,
    decode_trailer,
    encode,
)
from objstore.object.versions import Line, ObjectVersions, live_names, resolve_versions
from objstore.policies import Policy
from objstore.system.clock import Clock
from objstore.system.concurrency import happened
from objstore.system.disk_calls import OpenFile

# A version can be replaced between looking and opening; this often in a row it is not chance.
OPEN_ATTEMPTS: Final = 10
# What a failing disk says of a file it cannot read; the next one may be well.
_UNREADABLE: Final = (errno.EIO, errno.EUCLEAN)
# What may be the last good copy is not given up for an error that does not come again.
READ_ATTEMPTS: Final = 3
T = TypeVar("T")


class FileDevice:
    """A device on which each object is a file of its own. DeviceStorage says what each method does."""

    def __init__(
        self,
        disk: Disk,
        log: Logger,
        keep_cache_size: int,
        random: Random,
        clock: Clock,
        count_unlinked: Callable[[], None] = lambda: None,
    ) -> None:
        """Bodies longer than `keep_cache_size` bytes are dropped from the page cache once sent.

        `count_unlinked` is called when a new file could not be linked into the partition it will belong to.
        """
        self.path = disk.path
        self._disk = disk
        self._log = log
        self._keep_cache_size = keep_cache_size
        self._random = random
        self._guard = QuarantineGuard(disk.path, log, clock)
        self._inventory = Inventory(disk, random)
        self._ahead = NextPartitionLinker(disk, log, count_unlinked)

    def look(self, location: Location) -> ObjectVersions:
        return self._look(location, -1)[0]

    def begin_look(self, location: Location) -> PendingLook:
        if location.others:
            return PendingLook(happened(), partial(self.look, location))
        done, names = self._disk.begin_look(hash_directory(self._disk.path, location))
        return PendingLook(done, lambda: resolve_versions(names() or ()))

    def _look(self, location: Location, read_max: int) -> tuple[ObjectVersions, OpenFile | None]:
        """Also the only file of the object, opened, if there is but one, and `read_max` is not -1."""
        if not location.others:
            names, file = self._disk.look(hash_directory(self._disk.path, location), read_max)
            if names == [] and read_max != -1:
                self._notice_missing(location)
            return resolve_versions(names or ()), file
        own, *others = hash_directories(self._disk.path, location)
        # The relinker may move a file meanwhile, from any of them to another: it is seen before or afterwards.
        looks = [self._disk.look(directory)[0] for directory in (*others, own, *others)]
        return resolve_versions({name for names in looks for name in names or ()}), None

    def open(
        self,
        location: Location,
        current: ObjectVersions | None = None,
        read_max: int = 0,
        version: str | None = None,
    ) -> FileObject | Missing:
        file = None
        if current is None:
            current, file = self._look(location, read_max)
        return self._newest(location, current, file, read_max, version)

    def examine(
        self, location: Location, version: str | None = None, read_max: int = 0
    ) -> tuple[ObjectVersions, FileObject | None]:
        current, file = self._look(location, read_max)
        try:
            found = self._newest(location, current, file, read_max, version)
        except ObjectCorrupt:
            return current, None
        return current, None if isinstance(found, Missing) else found

    def _newest(
        self, location: Location, current: ObjectVersions, file: OpenFile | None, read_max: int, version: str | None
    ) -> FileObject | Missing:
        """What a version stands for, or what has replaced it; `file` is the only one, if it is open already."""
        for _ in range(OPEN_ATTEMPTS):
            line = current.current if version is None else current.line(version)
            if line.data is None:
                if current.names and not current.timestamp:
                    self._notice_missing(location)
                return Missing(line.timestamp, line.version, line.marker is not None)
            try:
                read = partial(self._open, location, line, read_max, file)
                return self._read_with_retry(read, location, line.version)
            except FileNotFoundError:
                current, file = self._look(location, read_max)
        return Missing("")

    def _notice_missing(self, location: Location) -> None:
        """A hash directory is there and no object in it: let replication compare its partition anew."""
        with suppress(OSError):
            record = digests_record(self.path, location.policy, location.partition)
            self._disk.forget_digests(record, hash_directory(self.path, location))

    def _read_with_retry(self, read: Callable[[], T], location: Location, version: str, name: str = "") -> T:
        """What `read` gives. Quarantines a version that is damaged, or cannot be read, however often that is tried.

        `name` is that of the file, if no other one is read. Raises ObjectCorrupt, and OSError that says nothing of it.
        """
        attempts = 1
        while True:
            try:
                return read()
            except MetadataCorrupt as error:
                raise self._quarantine_if_current(location, error.reason, version, name) from error
            except OSError as error:
                if error.errno not in _UNREADABLE:
                    raise
                if attempts == READ_ATTEMPTS:
                    reason = f"it cannot be read: {error.strerror}"
                    raise self._quarantine_if_current(location, reason, version, name) from error
            attempts += 1

    def _opened(self, location: Location, name: str, read_max: int = 0) -> OpenFile:
        """One file of an object, wherever it lies. Raises FileNotFoundError when that is nowhere, OSError."""
        own, *others = hash_directories(self._disk.path, location)
        try:
            return self._disk.open(f"{own}/{name}", read_max)
        except FileNotFoundError:
            for other in others:
                with suppress(FileNotFoundError):
                    return self._disk.open(f"{other}/{name}", read_max)
            raise

    def _open(self, location: Location, line: Line, read_max: int = 0, file: OpenFile | None = None) -> FileObject:
        data_file = line.data
        assert data_file is not None
        if file is None:
            file = self._opened(location, data_file.name, read_max)
        data, extra = self._metadata(ObjectMetadata, file)
        check_stored(data, location.name, data_file, file.size - extra)
        if line.meta is None:
            stamp = data_file.timestamp
            info = ObjectInfo(data, stamp, data.headers, data.content_type, stamp, line.version)
        else:
            info = self._overlaid(location, data, line.meta, line.type_meta)
        return FileObject(
            self._disk,
            file,
            info,
            data.stored_size <= self._keep_cache_size,
            lambda reason: self._quarantine_if_current(location, reason, line.version, data_file.name),
        )

    def _overlaid(
        self, location: Location, data: ObjectMetadata, meta: MetaFile, type_meta: MetaFile | None
    ) -> ObjectInfo:
        """What the data file's metadata has become by POSTs."""
        posted = self._posted(location, meta)
        content_type, set_at = data.content_type, data.timestamp
        for candidate in (posted, self._posted(location, type_meta) if type_meta is not None else posted):
            if candidate.content_type_timestamp > set_at:
                content_type, set_at = candidate.content_type, candidate.content_type_timestamp
        return ObjectInfo(data, posted.timestamp, posted.headers, content_type, set_at, meta.version)

    def _posted(self, location: Location, meta: MetaFile) -> PostedMetadata:
        posted, _ = self._metadata(PostedMetadata, self._opened(location, meta.name))
        return posted

    def _metadata(self, kind: type[Stored], file: OpenFile) -> tuple[Stored, int]:
        """The metadata of an open file, and how many bytes it takes behind the body."""
        decoded = decode(kind, file.attribute)
        if not isinstance(decoded, Trailer):
            return decoded, 0
        content = self._disk.read(file, decoded.length, decoded.body_length)
        return decode_trailer(kind, decoded, content), decoded.length

    def settle(self, location: Location, current: ObjectVersions, pending: DataFile) -> PendingName:
        return settle(self._disk, location, current, pending)

    def create(
        self, location: Location, current: ObjectVersions, length: int | None, version: str = "", kept: str = ""
    ) -> FileUpload:
        return FileUpload(self._disk, self._new(location, current), length, version, kept)

    def _new(self, location: Location, current: ObjectVersions) -> NewFile:
        return NewFile(self._disk, self._ahead, location, current)

    def write_tombstone(
        self, location: Location, current: ObjectVersions, tombstone: TombstoneMetadata, name: str = ""
    ) -> PendingCommit:
        name = name or tombstone_name(tombstone.timestamp)
        try:
            attribute = encode(tombstone, 0).attribute
            return self._new(location, current).write(name, b"", attribute, data_first=False)
        except OSError as error:
            if error.errno not in NO_ROOM:
                raise
            converted = convert(self._disk, location, current, tombstone, name)
            if converted is None:
                raise
            return converted

    def write_metadata(
        self, location: Location, current: ObjectVersions, posted: PostedMetadata, version: str = ""
    ) -> PendingName:
        encoded, name = encode(posted, 0), meta_name(posted.timestamp, posted.content_type_timestamp, version)
        return self._new(location, current).write(name, encoded.trailer, encoded.attribute)

    def versions(self, policy: Policy, partition: str, digest: str) -> ObjectVersions:
        return resolve_versions(
            self._disk.names(hash_directory(self._disk.path, Location(policy, partition, digest, "")))
        )

    def partitions(self, policy: Policy) -> list[str]:
        return self._inventory.partitions(f"{self.path}/{policy.data_dir}")

    def surface(self, policy: Policy) -> object:
        return frozenset(self.partitions(policy)), self._disk.modified(digests_folder(self.path, policy))

    def digests(
        self,
        policy: Policy,
        partition: str,
        now: float,
        reclaim_before: str,
        part_power: int | None = None,
    ) -> PartitionDigests:
        record = digests_record(self.path, policy, partition)
        directory = f"{self.path}/{policy.data_dir}/{partition}"
        return self._inventory.digests(directory, record, now, reclaim_before, part_power)

    def suffixes(self, policy: Policy, partition: str, changed_since: float = 0.0) -> list[str]:
        return self._inventory.suffixes(f"{self.path}/{policy.data_dir}/{partition}", changed_since)

    def objects(
        self, policy: Policy, partition: str, suffix: str, part_power: int | None = None
    ) -> dict[str, ObjectVersions]:
        return self._inventory.objects(f"{self.path}/{policy.data_dir}/{partition}", suffix, part_power)

    def link(self, policy: Policy, source: str, target: str, digest: str, names: Iterable[str]) -> list[str]:
        top = f"{self.path}/{policy.data_dir}"
        return self._inventory.link(f"{top}/{source}", f"{top}/{target}", digest, names)

    def remove(self, policy: Policy, partition: str, digest: str, names: Iterable[str]) -> None:
        self._inventory.remove(f"{self.path}/{policy.data_dir}/{partition}", digest, names)

    def make_durable(self, policy: Policy, partition: str) -> None:
        with suppress(FileNotFoundError):
            self._disk.flush_all(f"{self.path}/{policy.data_dir}/{partition}")

    def export(self, policy: Policy, partition: str, digest: str, name: str) -> Exported | None:
        file_name = parse_name(name)
        location = Location(policy, partition, digest, "")
        directory = hash_directory(self._disk.path, location)

        def read() -> Exported | None:
            if isinstance(file_name, DataFile):
                return self._exported_data(location, directory, file_name)
            if isinstance(file_name, MetaFile):
                posted, _ = self._metadata(PostedMetadata, self._disk.open(f"{directory}/{name}"))
                return Exported(posted)
            if isinstance(file_name, Tombstone | DeleteMarker):
                opened = self._disk.open(f"{directory}/{name}")
                return Exported(read_tombstone(self._metadata, opened, file_name.timestamp))
            return None

        try:
            return self._read_with_retry(read, location, file_name.version if file_name is not None else "")
        except FileNotFoundError:
            return None

    def _exported_data(self, location: Location, directory: str, data_file: DataFile) -> Exported:
        named, _ = self._metadata(ObjectMetadata, self._disk.open(f"{directory}/{data_file.name}"))
        known = structs.replace(location, name=named.name)
        body = self._open(known, Line(data_file.version, data_file))
        return Exported(body.info.data, body)

    def verify(
        self, policy: Policy, partition: str, digest: str, name: str, spend: Callable[[int], None] | None
    ) -> AnyMetadata | None:
        location = Location(policy, partition, digest, "")
        path, file_name = f"{hash_directory(self._disk.path, location)}/{name}", parse_name(name)
        if file_name is None:
            return None
        verify = partial(Scrub(self._disk, self._metadata).verify, path, file_name, spend)
        try:
            return self._read_with_retry(verify, location, file_name.version, name)
        except FileNotFoundError:
            return None

    def notice_changes(self, policy: Policy, partition: str, suffix: str) -> bool:
        return self._inventory.notice_changes(f"{self.path}/{policy.data_dir}/{partition}/{suffix}")

    def set_strays_aside(self, policy: Policy, partition: str, suffix: str) -> int:
        directory = f"{self.path}/{policy.data_dir}/{partition}/{suffix}"
        strays = [name for name in self._disk.names(directory) if not is_hash_of(suffix, name)]
        for name in strays:
            path = f"{directory}/{name}"
            went = self._disk.move_aside_here(path, f"{self.path}/quarantined/{policy.data_dir}/{name}")
            if went:
                self._log.error("object quarantined", name=path, reason="it lies in a wrong place", moved_to=went)
        return len(strays)

    def set_aside(self, location: Location, reason: str, version: str | None = None) -> None:
        self._guard.admit(lambda: self.sample(location.policy))
        self.quarantine(location, reason, version)

    def sample(self, policy: Policy, hash_of: Callable[[str], str] | None = None) -> DeviceSample:
        return take_sample(self._disk, self._random, f"{self.path}/{policy.data_dir}", hash_of)

    def forget_uploads(self, policy: Policy, before: float) -> int:
        return self._disk.remove_older(f"{self.path}/{policy.tmp_dir}", before)

    def quarantine(self, location: Location, reason: str, version: str | None = None) -> None:
        target = quarantine_directory(self._disk.path, location)
        for directory in hash_directories(self._disk.path, location):
            current = resolve_versions(self._disk.look(directory)[0] or ())
            names = current.names if version is None else current.line(version).names
            if len(names) == len(current.names):
                went = self._disk.move_aside(directory, target)
            else:
                # Marks last: what a removal mark has removed must not come back if this is broken off.
                in_order = sorted(names, key=lambda name: name.endswith(tombstone_name("")))
                went = self._disk.move_files_aside(directory, in_order, f"{target}!{version or NULL}")
            if went:
                self._log.error("object quarantined", name=location.name, reason=reason, moved_to=went)

    def _quarantine_if_current(self, location: Location, reason: str, version: str, name: str = "") -> ObjectCorrupt:
        """Quarantine a version, unless the damaged file of that `name` has been replaced while it was read.

        Raises DeviceUnavailable if it stays, since the device as a whole is suspect.
        """
        reason = f"{name}: {reason}" if name else reason
        if not name or name in live_names(self.look(location)):
            self.set_aside(location, reason, version)
        return ObjectCorrupt(location.name, reason)

    def close(self) -> None:
        """Files that are being read or written stay open until that has ended."""
