"""Objects: commands, results, and the service that carries them out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Final

import msgspec
from msgspec import Struct

from objstore.checksums import Algorithm
from objstore.conditions import WriteConditions
from objstore.expiry import expiry_queue
from objstore.http.bodies import BytesBody, IterableBody
from objstore.http.conditional import range_applies
from objstore.http.messages import Body
from objstore.http.ranges import ByteRange, parse_ranges, resolve_ranges
from objstore.http.transport import BackendResponse
from objstore.limits import ObjectTooLarge
from objstore.paths import ResourcePath
from objstore.proxy.core.backend import codes, rows
from objstore.proxy.core.backend import objects as backend
from objstore.proxy.core.backend.fragments import asking_headers
from objstore.proxy.core.backend.names import SEALED
from objstore.proxy.core.bodies import OpenedObject as OpenedObject
from objstore.proxy.core.bodies import ResumingBody, Source
from objstore.proxy.core.checksums import WantedChecksums, copied_checksums
from objstore.proxy.core.errors import InvalidRange, ObjectFacts, QuorumNotReached
from objstore.proxy.core.fragments.body import FragmentBody
from objstore.proxy.core.info import NO_METADATA, StoredMetadata, StoredObjectInfo
from objstore.proxy.core.nodes import Placement, fragment_placement, strict_placement
from objstore.proxy.core.outbox import send_rows
from objstore.proxy.core.quorum_request import SMALL_BODY_MAX as SMALL_BODY_MAX
from objstore.proxy.core.quorum_request import receive, send_body
from objstore.proxy.core.upload import StreamingUpload, upload
from objstore.timestamps import Timestamp

if TYPE_CHECKING:
    from objstore.cluster import Cluster
    from objstore.http.messages import BodyReader
    from objstore.policies import Policy
    from objstore.proxy.core.checksums import PutDigest
    from objstore.proxy.core.encryption.envelope import CustomerKey, Seal
    from objstore.proxy.core.fragments.reading import FragmentOperations
    from objstore.proxy.core.quorum_request import Writer
    from objstore.proxy.core.reading import Reader
    from objstore.proxy.core.strong_objects import Places, StrongObjects
    from objstore.ring.rings import Rings
    from objstore.system.threads import ThreadGroup

NO_CHECKSUMS: Final[Mapping[Algorithm, str]] = {}


class Conditions(Struct, frozen=True):
    """On what a read depends (RFC 9110, section 13); each value as HTTP writes it, None without one."""

    if_match: str | None = None
    if_none_match: str | None = None
    if_modified_since: str | None = None
    if_unmodified_since: str | None = None
    if_range: str | None = None


class GetObject(Struct, frozen=True):
    """Read an object. `ranges` is as HTTP writes it (RFC 9110, section 14.2), "" for the whole.

    newest: ask all nodes, and take the newest. open_expired: also if it has expired and is not deleted yet.
    as_stored: also of a link or a manifest weigh the conditions and ranges; without, such an object comes whole, and
    they are for what it stands for. version: this one only, "null" for the plain line, "" for what is current.
    customer_key: what the object is encrypted with. raw: of an encrypted object, as it is stored; for the core alone.
    """

    path: ResourcePath
    policy_index: int
    ranges: str = ""
    conditions: Conditions | None = None
    newest: bool = False
    open_expired: bool = False
    for_replication: bool = False
    as_stored: bool = False
    version: str = ""
    transaction_id: str = ""
    customer_key: CustomerKey | None = None
    raw: bool = False


class PutObject(Struct, frozen=True):
    """Store an object.

    `length` is None for a body that may turn out to have up to `length_max` bytes. `delete_at` is in seconds since the
    epoch. ask_first: the nodes may refuse the object by its headers alone, and the sender waits for that before it
    sends the body. version_mode: "keep" makes a version that stays whatever is written later; with `version` it writes
    that one again, whose bytes must be the same, so that it is the current one from now on. checksums: beside MD5.
    seal: how it is encrypted, None for not; customer_key: with which key, if that is the writer's. digest: what takes
    in the body instead of its MD5; for the core alone.
    """

    path: ResourcePath
    policy_index: int
    timestamp: Timestamp
    body: BodyReader
    length: int | None
    length_max: int
    content_type: str
    metadata: StoredMetadata = NO_METADATA
    delete_at: int | None = None
    expected_md5: str = ""
    conditions: WriteConditions | None = None
    ask_first: bool = False
    version_mode: str = ""
    version: str = ""
    checksums: WantedChecksums | None = None
    transaction_id: str = ""
    seal: Seal | None = None
    customer_key: CustomerKey | None = None
    digest: PutDigest | None = None


class CopyObject(Struct, frozen=True):
    """Store the bytes of an opened object, which the copy closes, as `target`, whose own body is not read."""

    source: OpenedObject
    target: PutObject


class PostObject(Struct, frozen=True):
    """Replace all metadata; the type stays if none is given. open_expired: bring back what has expired.

    version: of this one only, "" for what is current. merges: metadata that is not given stays, as a lock always does.
    sealed: what clients attach is stored encrypted.
    """

    path: ResourcePath
    policy_index: int
    timestamp: Timestamp
    content_type: str = ""
    metadata: StoredMetadata = NO_METADATA
    delete_at: int | None = None
    open_expired: bool = False
    version: str = ""
    merges: bool = False
    bypasses_governance: bool = False
    conditions: WriteConditions | None = None
    transaction_id: str = ""
    sealed: bool = False


class DeleteObject(Struct, frozen=True):
    """Delete an object; with `only_if_expiring_at` (seconds since the epoch) only if it expires then.

    version_mode: "keep" leaves a delete marker that is a version itself, "null" one in the plain line, "" deletes the
    plain line. version: remove this one for good, "null" for the plain line; then there is no mode.
    bypasses_governance: also if a lock of that kind protects it.
    """

    path: ResourcePath
    policy_index: int
    timestamp: Timestamp
    only_if_expiring_at: str | None = None
    transaction_id: str = ""
    version_mode: str = ""
    version: str = ""
    conditions: WriteConditions | None = None
    bypasses_governance: bool = False


class PutResult(Struct, frozen=True):
    """The result of a PUT. superseded: newer data was there, and the write changes nothing.

    version: of what is kept, "" in the plain line. checksums: those that are stored beside the ETag. seal: how it is
    encrypted.
    """

    etag: str
    timestamp: Timestamp
    superseded: bool = False
    version: str = ""
    checksums: Mapping[Algorithm, str] = NO_CHECKSUMS
    seal: Seal | None = None


class PostResult(Struct, frozen=True):
    """The result of a POST. system: of a link, the system metadata that says where it leads."""

    system: dict[str, str]


class ObjectOperations:
    """Operations on objects; one for each process. Authorization is the edge's: it knows the container."""

    def __init__(
        self,
        cluster: Cluster,
        rings: Rings,
        reader: Reader,
        writer: Writer,
        threads: ThreadGroup,
        strong: StrongObjects,
        fragments: FragmentOperations,
    ) -> None:
        self._policies: Final = cluster.policies
        self._hasher: Final = cluster.hasher
        self._rings: Final = rings
        self._reader: Final = reader
        self._writer: Final = writer
        self._threads: Final = threads
        self._strong: Final = strong
        self._fragments: Final = fragments

    def put(self, command: PutObject) -> PutResult:
        """Store an object on a quorum of its nodes. Raises CoreError: then nothing is acknowledged."""
        policy = self._policies.by_index(command.policy_index)
        placement, container, queue = places = self._placements(command, policy, command.delete_at)
        if placement.strict:
            if command.ask_first or command.length is None or command.length > SMALL_BODY_MAX:
                self._strong.check_ahead(command, places)
                command = msgspec.structs.replace(command, ask_first=False)
            content, whole = receive(command)
            scheme = policy.scheme.for_body(len(content) if whole else command.length)
            etag, checksums, stamp, begun = self._strong.put(command, places, content, whole, scheme)
            version = _version_of(command, begun)
            if scheme.code is not None:
                self._fragments.commit_later(placement, placement.primaries, command, stamp, version)
            return PutResult(etag, stamp, False, version, checksums)
        if command.conditions is not None:
            self._settle(command, placement)
        headers = backend.write_headers(command, backend.put_fields(command), placement, container, queue)
        content, whole = receive(command)
        scheme = policy.scheme.for_body(len(content) if whole else command.length)
        if whole:
            etag, checksums, result = send_body(self._writer, command, content, scheme, placement, headers)
        else:
            sending = StreamingUpload(self._writer, placement, headers, command.length, scheme)
            etag, checksums = upload(command, content, sending, scheme.encoder(placement.numbers), self._threads)
            result = sending.result
        stored, version = backend.put_outcome(command, result), _version_of(command, command.timestamp)
        if stored and scheme.code is not None:
            self._fragments.commit_later(placement, result.nodes, command, command.timestamp, version)
        return PutResult(etag, command.timestamp, not stored, version, checksums)

    def copy(self, command: CopyObject) -> PutResult:
        """Store another object's bytes, which pass through piece by piece. Raises CoreError."""
        source, target = command.source, command.target
        with closing(source):
            length = source.length
            if length is None or length > target.length_max:
                raise ObjectTooLarge(target.length_max)
            body = BytesBody(source.body) if isinstance(source.body, bytes) else IterableBody(source.body)
            metadata = target.metadata
            if metadata.system and not target.version:
                system = copied_checksums(metadata.system, whole=source.part is None)
                metadata = msgspec.structs.replace(metadata, system=system)
            return self.put(msgspec.structs.replace(target, body=body, length=length, metadata=metadata))

    def post(self, command: PostObject) -> PostResult:
        """Replace the metadata of an object. Raises CoreError."""
        policy = self._policies.by_index(command.policy_index)
        placement, container, queue = places = self._placements(command, policy, command.delete_at)
        if placement.strict:
            return PostResult(self._strong.post(command, places))
        self._settle(command, placement)
        headers = backend.write_headers(command, backend.post_fields(command), placement, container, queue)
        return PostResult(backend.post_outcome(command, self._writer.send("POST", placement, headers)))

    def delete(self, command: DeleteObject) -> Timestamp:
        """Delete an object; when it was. Raises CoreError."""
        placement, container, _ = places = self._placements(
            command, self._policies.by_index(command.policy_index), None
        )
        if placement.strict:
            return self._strong.delete(command, places)
        headers = backend.write_headers(command, backend.delete_fields(command), placement, container)
        backend.delete_outcome(command, self._writer.send("DELETE", placement, headers))
        return command.timestamp

    def _settle(self, command: PutObject | PostObject, placement: Placement) -> None:
        """Have fragments durable on devices that decide by what they have."""
        if placement.fragments is not None:
            self._fragments.read("HEAD", placement, asking_headers(command)).close()

    def delete_later(
        self, owner: ResourcePath, paths: Sequence[ResourcePath], timestamp: Timestamp, transaction_id: str
    ) -> None:
        """Have the expirer delete what is not written later than `timestamp`; `owner` chooses its queue.

        Raises CoreError unless a quorum of the queue's servers knows of all.
        """
        moment = timestamp.ceil_seconds
        queue = expiry_queue(moment, self._hasher.digest(owner))
        placement = Placement.of(queue, self._rings.container, self._hasher)
        send_rows(
            self._writer, placement, [rows.deletion_row(path, moment, timestamp) for path in paths], transaction_id
        )

    def head(self, command: GetObject) -> StoredObjectInfo:
        """The object without its body; ranges are ignored. Raises CoreError."""
        headers = backend.read_headers(command, ranges=False)
        return backend.object_info(self._look(command, self._placement(command), headers).headers)

    def open(self, command: GetObject) -> OpenedObject:
        """The object and its body, which goes on with another replica if one breaks off. Raises CoreError."""
        placement = self._placement(command)
        if "," in command.ranges:
            return self._open_several(command, placement)
        return self._open_first(command, placement, backend.read_headers(command))

    def _open_first(self, command: GetObject, placement: Placement, headers: backend.Headers) -> OpenedObject:
        found = self._read("GET", placement, headers, command)
        if found.status > codes.SUCCESS_MAX:
            found.close()
            raise backend.read_error(command, found)
        info, part, body = backend.object_info(found.headers), backend.given_range(found), found.body
        if isinstance(body, BytesBody):
            return OpenedObject(info, body.read(), part)
        if isinstance(body, FragmentBody):
            return OpenedObject(info, body, part)
        if body.length is None:
            found.close()
            raise QuorumNotReached(command.path)
        wanted = ByteRange(0, body.length - 1) if part is None else part
        return OpenedObject(info, ResumingBody(body, wanted, Source(self._reader, placement, headers, found)), part)

    def _open_several(self, command: GetObject, placement: Placement) -> OpenedObject:
        """Weigh the request by the object's description, then read range after range of that very object."""
        specs, plain = parse_ranges(command.ranges), backend.read_headers(command, ranges=False)
        if specs is None:
            return self._open_first(command, placement, plain)
        found = self._look(command, placement, plain)
        info = backend.object_info(found.headers)
        if SEALED in info.metadata.system or (info.stands_for_others and not command.as_stored):
            return self._open_first(command, placement, plain)
        validator = None if command.conditions is None else command.conditions.if_range
        if not range_applies(lambda _name: validator, info.etag, info.last_modified):
            return self._open_first(command, placement, plain)
        ranges = resolve_ranges(specs, info.size)
        if not ranges:
            raise InvalidRange(ObjectFacts(info.etag, info.timestamp, info.last_modified, info.size))
        bodies: list[tuple[ByteRange, Body]]
        if isinstance(found.body, FragmentBody):
            bodies = [(each, found.body.part(each)) for each in ranges]
        else:
            source = Source(self._reader, placement, plain, found)
            bodies = [(each, ResumingBody(None, each, source)) for each in ranges]
        if len(bodies) == 1:
            return OpenedObject(info, bodies[0][1], ranges[0])
        return OpenedObject(info, b"", parts=tuple(bodies))

    def _look(self, command: GetObject, placement: Placement, headers: backend.Headers) -> BackendResponse:
        found = self._read("HEAD", placement, headers, command)
        if found.status > codes.SUCCESS_MAX:
            raise backend.read_error(command, found)
        return found

    def _read(self, method: str, placement: Placement, headers: backend.Headers, command: GetObject) -> BackendResponse:
        if placement.fragments is not None:
            return self._fragments.read(method, placement, headers)
        if placement.strict:
            return self._strong.reader.read(method, placement, headers)
        return self._reader.read(method, placement, headers, newest=command.newest)

    def _placement(self, command: GetObject) -> Placement:
        return self._placed(
            command.path, self._policies.by_index(command.policy_index), self._hasher.digest(command.path)
        )

    def _placed(self, path: ResourcePath, policy: Policy, digest: bytes) -> Placement:
        ring = self._rings.object(policy.index)
        partition = ring.partition_of(digest)
        primaries = ring.primaries(partition)
        if policy.kind != "replication":
            primaries = policy.scheme.in_order(primaries)
            return fragment_placement(Placement(ring, partition, path, primaries, 0), policy)
        if policy.is_strong:
            return strict_placement(Placement(ring, partition, path, primaries, 0))
        return Placement(ring, partition, path, primaries, policy.scheme.write_quorum(len(primaries)))

    def _placements(
        self, command: PutObject | PostObject | DeleteObject, policy: Policy, delete_at: int | None
    ) -> Places:
        """Where an object is written, and the container, and the expiry queue if it expires, that its nodes inform."""
        path, digest_of = command.path, self._hasher.digest
        digest = digest_of(path)
        placement = self._placed(path, policy, digest)
        ring, path = self._rings.container, path.container_path
        partition = ring.partition_of(digest_of(path))
        container = Placement(ring, partition, path, ring.primaries(partition), 0)
        if delete_at is None:
            return placement, container, None
        return placement, container, Placement.of(expiry_queue(delete_at, digest), ring, self._hasher)


def _version_of(command: PutObject, stamp: Timestamp) -> str:
    return (command.version or stamp.internal) if command.version_mode == "keep" else ""
