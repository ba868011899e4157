"""Files that come from another device: verified, stored durably, and answered for one by one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import ClassVar, Final, TypeVar

import msgspec

from objstore.cluster import Cluster
from objstore.errors import StoreError
from objstore.http.errors import HttpError
from objstore.http.messages import BodyReader
from objstore.logs import Logger
from objstore.mounts import NO_ROOM, DeviceFull, DeviceRoot
from objstore.object.agreement import AgreementTable
from objstore.object.engine import AlreadyStored, DeviceStorage, Location, ObjectUpload, PendingCommit
from objstore.object.file_names import WHOLE, DataFile, MetaFile, data_name, meta_name, parse_name
from objstore.object.metadata import ObjectMetadata, PostedMetadata, TombstoneMetadata
from objstore.object.part_power import LocationResolver, adjacent_powers, partition_of
from objstore.object.replication.frames import Head, read_head, read_piece
from objstore.object.replication.messages import FILES_MAX, TransferResult
from objstore.object.versions import ObjectVersions, is_held
from objstore.paths import ResourcePath
from objstore.policies import Policy
from objstore.system.concurrency import Semaphore, Task, spawn

# Small files are stored side by side, so that they share flushes; a larger one alone, as it comes.
SMALL_BYTES_MAX: Final = 64 * 1024
PIECE_BYTES: Final = 1024 * 1024
SETTLING_MAX: Final = 64
SETTLE_SECONDS: Final = 120.0

Metadata = TypeVar("Metadata", ObjectMetadata, PostedMetadata, TombstoneMetadata)


@dataclass(frozen=True)
class DevicePartition:
    """A partition on a device; `device_name` is how servers call the device.

    An object in it that belongs there only by another part power than `part_power` (None if not known) does not count.
    """

    device_name: str
    device: str
    policy: Policy
    partition: str
    part_power: int | None = None
    agreement: AgreementTable | None = None  # of a policy that is strong


@dataclass(eq=False)
class Deferred(StoreError):
    """A write is being decided, and the file is older than what may come of it: the sender tries again."""

    message: ClassVar[str] = "{name} is older than a write that is being decided"

    name: str


@dataclass
class Receiver:
    """Stores frames in one partition.

    Of policies that are strong, what is older than a write being decided is left for later, unless who sends it has
    prepared that write itself: `agreed` is its timestamp.
    """

    storage: DeviceStorage
    cluster: Cluster
    devices: DeviceRoot
    log: Logger
    place: DevicePartition
    locations: LocationResolver
    agreed: str = ""
    _settling: Semaphore = field(default_factory=lambda: Semaphore(SETTLING_MAX))

    def receive(self, body: BodyReader) -> list[TransferResult]:
        """Store all frames of a body. Raises HttpError at one that cannot be read; those before it are stored."""
        tasks: list[Task[TransferResult]] = []
        try:
            while (head := read_head(body)) is not None:
                if len(tasks) >= FILES_MAX:
                    raise HttpError(413, f"At most {FILES_MAX} files at a time")
                tasks.append(self._begin(head, body))
        finally:
            outcomes = [task.wait() for task in tasks]
        return outcomes

    def _begin(self, head: Head, body: BodyReader) -> Task[TransferResult]:
        if head.size <= SMALL_BYTES_MAX:
            content = read_piece(body, head.size)
            self._settling.acquire(SETTLE_SECONDS)
            return spawn(self._small, head, content)
        return spawn(_given, self._store(head, lambda store: self._large(head, body, store), body))

    def _small(self, head: Head, content: bytes) -> TransferResult:
        try:
            return self._store(head, lambda write: write(content))
        finally:
            self._settling.release()

    def _large(self, head: Head, body: BodyReader, write: Callable[[bytes], None]) -> None:
        left = head.size
        while left:
            piece = read_piece(body, min(left, PIECE_BYTES))
            left -= len(piece)
            write(piece)

    def _store(
        self, head: Head, feed: Callable[[Callable[[bytes], None]], None], rest: BodyReader | None = None
    ) -> TransferResult:
        """Store one file whose body `feed` gives. With `rest`, what is not taken of the body is read and dropped."""
        taken = 0

        def count(write: Callable[[bytes], None]) -> Callable[[bytes], None]:
            def counted(piece: bytes) -> None:
                nonlocal taken
                taken += len(piece)
                write(piece)

            return counted

        try:
            return self._stored(head, lambda write: feed(count(write)))
        except Deferred:
            return TransferResult.FAILED
        except (StoreError, OSError, ValueError) as error:
            if isinstance(error, HttpError) and error.status in (408, 499):
                raise  # the sender is gone
            self.log.warning("replica refused", hash=head.hash, file=head.name, reason=str(error))
            return TransferResult.FULL if _is_full(error) else TransferResult.FAILED
        finally:
            if rest is not None:
                self._drop(rest, head.size - taken)

    @staticmethod
    def _drop(body: BodyReader, left: int) -> None:
        while left > 0:
            left -= len(read_piece(body, min(left, PIECE_BYTES)))

    def _stored(self, head: Head, feed: Callable[[Callable[[bytes], None]], None]) -> TransferResult:
        """Raises ValueError on what is not as it says, OSError, HttpError."""
        file = parse_name(head.name)
        if isinstance(file, DataFile) and head.name == data_name(file.timestamp, file.fragment, version=file.version):
            return self._data(head, file, feed)
        if file is None or isinstance(file, DataFile):
            raise ValueError("no such file name")
        if head.size:
            raise ValueError("it has a body")
        if isinstance(file, MetaFile):
            posted = self._metadata(head, PostedMetadata, file.timestamp)
            if head.name != meta_name(posted.timestamp, posted.content_type_timestamp, file.version):
                raise ValueError("name and metadata differ")
            version = file.version
            return self._settled(
                head,
                posted.name,
                posted.timestamp,
                lambda at, current: self.storage.write_metadata(at, current, posted, version),
            )
        tombstone = self._metadata(head, TombstoneMetadata, file.timestamp)
        return self._settled(
            head,
            tombstone.name,
            tombstone.timestamp,
            lambda at, current: self.storage.write_tombstone(at, current, tombstone, head.name),
        )

    def _data(self, head: Head, file: DataFile, feed: Callable[[Callable[[bytes], None]], None]) -> TransferResult:
        metadata = self._metadata(head, ObjectMetadata, file.timestamp)
        if metadata.stored_size != head.size:
            raise ValueError("the size differs from its metadata")
        if file.fragment != (WHOLE if metadata.fragment is None else metadata.fragment.index):
            raise ValueError("name and metadata differ in their fragments")
        location = self._location(head, metadata.name)
        current = self.storage.look(location)
        if is_held(head.name, current):
            return self._held(head, current)

        def received(upload: ObjectUpload) -> ObjectMetadata:
            feed(upload.write)
            if upload.checksum != metadata.checksum:
                raise ValueError("the body does not match its checksum")
            return metadata

        self._store_body(head, location, current, file.version, received)
        return TransferResult.STORED

    def store_rebuilt(self, digest: str, version: str, metadata: ObjectMetadata, pieces: Iterable[bytes]) -> None:
        """Store a fragment that is made here. Raises StoreError, ValueError, OSError, and what `pieces` raises."""
        assert metadata.fragment is not None
        name = data_name(metadata.timestamp, metadata.fragment.index, version=version)
        head = Head(digest, name, metadata.fragment.length, msgspec.Raw(b""))
        location = self._location(head, metadata.name)
        current = self.storage.look(location)

        def rebuilt(upload: ObjectUpload) -> ObjectMetadata:
            for piece in pieces:
                upload.write(piece)
            if upload.size != head.size:
                raise ValueError("it has another length than its metadata say")
            return msgspec.structs.replace(metadata, checksum=upload.checksum)

        self._store_body(head, location, current, version, rebuilt)

    def _store_body(
        self,
        head: Head,
        location: Location,
        current: ObjectVersions,
        version: str,
        fill: Callable[[ObjectUpload], ObjectMetadata],
    ) -> None:
        """Store the body that `fill` writes, with the metadata it gives. Raises StoreError, OSError, and as `fill`."""
        self.devices.check_space(self.place.device_name, head.size)
        upload = self.storage.create(location, current, head.size, version)
        try:
            metadata = fill(upload)
            with self._slot(head, metadata.timestamp):
                self.locations.make_durable(self.storage, location, upload.commit(metadata))
        except AlreadyStored:
            self.storage.make_durable(location.policy, location.partition)
        finally:
            upload.abort()

    def _settled(
        self, head: Head, name: str, timestamp: str, write: Callable[[Location, ObjectVersions], PendingCommit]
    ) -> TransferResult:
        location = self._location(head, name)
        current = self.storage.look(location)
        if is_held(head.name, current):
            return self._held(head, current)
        try:
            with self._slot(head, timestamp):
                self.locations.make_durable(self.storage, location, write(location, current))
        except AlreadyStored:
            self.storage.make_durable(location.policy, location.partition)
        return TransferResult.STORED

    @contextmanager
    def _slot(self, head: Head, timestamp: str) -> Iterator[None]:
        """While a file is stored, no write of the object is decided. Raises Deferred."""
        if self.place.agreement is None:
            yield
            return
        with self.place.agreement.held(head.hash) as slot:
            if slot.defers(timestamp, self.agreed):
                raise Deferred(head.name)
            slot.note_push(timestamp)
            yield

    @staticmethod
    def _held(head: Head, current: ObjectVersions) -> TransferResult:
        return TransferResult.STORED if head.name in current.names else TransferResult.NEWER

    def _location(self, head: Head, name: str) -> Location:
        """Where the object of this path lies, if that is what the hash says. Raises ValueError."""
        account, _, rest = name.removeprefix("/").partition("/")
        container, _, object_name = rest.partition("/")
        path = ResourcePath(account, container, object_name)
        if not (account and container and object_name) or self.cluster.hasher.hexdigest(path) != head.hash:
            raise ValueError("path and hash differ")
        place, power = self.place, self.place.part_power
        # By its own power, or an adjacent one: while the power is increased, the sender may not have the new ring.
        if power is not None and all(
            partition_of(head.hash, each) != place.partition for each in (power, *adjacent_powers(power))
        ):
            raise ValueError("it belongs to another partition")
        return self.locations.resolve(Location(place.policy, place.partition, head.hash, name))

    @staticmethod
    def _metadata(head: Head, kind: type[Metadata], timestamp: str) -> Metadata:
        try:
            metadata = msgspec.json.decode(head.metadata, type=kind)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise ValueError(f"bad metadata: {error}") from None
        if metadata.timestamp != timestamp:
            raise ValueError("name and metadata differ in their timestamps")
        return metadata


def _is_full(error: Exception) -> bool:
    return isinstance(error, DeviceFull) or (isinstance(error, OSError) and error.errno in NO_ROOM)


def _given(outcome: TransferResult) -> TransferResult:
    return outcome
