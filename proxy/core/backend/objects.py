"""Objects on the wire of the storage servers: what is asked, and what the answers mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from objstore.headers import STANDS_FOR_OTHERS, Backend, Client, Sysmeta
from objstore.http.conditional import write_condition_headers
from objstore.http.ranges import ByteRange, parse_content_range
from objstore.http.transport import BackendResponse
from objstore.limits import ObjectTooLarge
from objstore.proxy.core import errors
from objstore.proxy.core.backend import codes
from objstore.proxy.core.info import NO_METADATA, StoredMetadata, StoredObjectInfo
from objstore.quorum import best_status, quorum_size
from objstore.timestamps import Timestamp

if TYPE_CHECKING:
    from objstore.proxy.core.nodes import Placement
    from objstore.proxy.core.objects import DeleteObject, GetObject, PostObject, PutObject
    from objstore.proxy.core.quorum_request import QuorumResult

Headers = dict[str, str]
Stamp = tuple[str, str]  # when data was written, and when its metadata was
NEVER: Final[Stamp] = ("", "")

META: Final = Client.OBJECT_META_PREFIX
SYSTEM: Final = Sysmeta.OBJECT_PREFIX
TRANSIENT: Final = Sysmeta.OBJECT_TRANSIENT_PREFIX
RAW: Final = "raw"  # encrypted objects as they are stored, too
TRAILERS: Final = {Client.TRAILER: f"{Client.ETAG}, {Backend.BODY_CHECKSUM}"}
# Headers of an answer that are fields of the result, or are about the message and not the object.
_NOT_METADATA: Final = frozenset(
    {
        Client.ACCEPT_RANGES, Client.CONNECTION, Client.CONTENT_LENGTH, Client.CONTENT_RANGE, Client.CONTENT_TYPE,
        Client.DATE, Client.DELETE_AT, Client.ETAG, Client.LAST_MODIFIED, Client.TIMESTAMP, Client.TRANSFER_ENCODING,
        Client.TRANS_ID, "Keep-Alive", Backend.TIMESTAMP, Backend.DATA_TIMESTAMP, Backend.DURABLE_TIMESTAMP,
    }
)  # fmt: skip


class UpdateHeaders(Struct, frozen=True):
    """The three headers that name the servers to which a storage server sends an update."""

    host: str
    device: str
    partition: str


TO_CONTAINER: Final = UpdateHeaders(Backend.CONTAINER_HOST, Backend.CONTAINER_DEVICE, Backend.CONTAINER_PARTITION)
TO_ACCOUNT: Final = UpdateHeaders(Backend.ACCOUNT_HOST, Backend.ACCOUNT_DEVICE, Backend.ACCOUNT_PARTITION)
TO_QUEUE: Final = UpdateHeaders(Backend.DELETE_AT_HOST, Backend.DELETE_AT_DEVICE, Backend.DELETE_AT_PARTITION)
# Each lists servers or their devices, in the same order.
_LISTS: Final = (TO_CONTAINER.host, TO_CONTAINER.device, TO_QUEUE.host, TO_QUEUE.device)
_SHARED: Final = (
    Client.TRANS_ID,
    Client.DELETE_AT,
    Backend.POLICY_INDEX,
    Backend.VERSION_MODE,
    Backend.VERSION_ID,
    TO_CONTAINER.partition,
    TO_QUEUE.partition,
    Backend.DELETE_AT_CONTAINER,
)


def read_headers(command: GetObject, *, ranges: bool = True) -> Headers:
    """What a GET or HEAD asks. The conditions and ranges are weighed by the server."""
    headers = {Client.TRANS_ID: command.transaction_id, Backend.POLICY_INDEX: str(command.policy_index)}
    if ranges and command.ranges:
        headers[Client.RANGE] = command.ranges
    conditions = command.conditions
    if conditions is not None:
        for name, value in (
            (Client.IF_MATCH, conditions.if_match),
            (Client.IF_NONE_MATCH, conditions.if_none_match),
            (Client.IF_MODIFIED_SINCE, conditions.if_modified_since),
            (Client.IF_UNMODIFIED_SINCE, conditions.if_unmodified_since),
            (Client.IF_RANGE, conditions.if_range),
        ):
            if value is not None:
                headers[name] = value
    if command.open_expired:
        headers[Backend.OPEN_EXPIRED] = "true"
    if command.for_replication:
        headers[Backend.REPLICATION] = "true"
    if command.as_stored or command.raw:
        headers[Backend.AS_STORED] = RAW if command.raw else "true"
    if command.version:
        headers[Backend.VERSION_ID] = command.version
    return headers


def rest_headers(headers: Mapping[str, str], wanted: ByteRange | None) -> Headers:
    """Those of a read of the rest of the same bytes: without conditions, which may change the answer, for `wanted`."""
    kept = (Client.TRANS_ID, Backend.POLICY_INDEX, Backend.OPEN_EXPIRED, Backend.REPLICATION, Backend.VERSION_ID)
    rest = {name: headers[name] for name in kept if name in headers}
    rest[Backend.AS_STORED] = RAW
    if wanted is not None:
        rest[Client.RANGE] = wanted.header
    return rest


def put_fields(command: PutObject) -> Headers:
    """What a PUT stores beside the body."""
    fields = _stored_fields(command)
    if command.version_mode:
        fields[Backend.VERSION_MODE] = command.version_mode
    return fields


def post_fields(command: PostObject) -> Headers:
    """What a POST stores in the place of all metadata."""
    fields = _stored_fields(command)
    if command.open_expired:
        fields[Backend.OPEN_EXPIRED] = "true"
    if command.merges:
        fields[Backend.MERGE] = "true"
    if command.bypasses_governance:
        fields[Backend.BYPASS_GOVERNANCE] = "true"
    return fields


def delete_fields(command: DeleteObject) -> Headers:
    """What a DELETE says beside its time."""
    fields: Headers = {}
    if command.only_if_expiring_at is not None:
        fields[Client.IF_DELETE_AT] = command.only_if_expiring_at
    if command.version:
        fields[Backend.VERSION_ID] = command.version
    elif command.version_mode:
        fields[Backend.VERSION_MODE] = command.version_mode
    if command.bypasses_governance:
        fields[Backend.BYPASS_GOVERNANCE] = "true"
    return fields


def _stored_fields(command: PutObject | PostObject) -> Headers:
    fields: Headers = {}
    metadata = command.metadata
    if metadata is not NO_METADATA:
        fields.update(metadata.given)
        for prefix, family in ((META, metadata.user), (SYSTEM, metadata.system), (TRANSIENT, metadata.transient)):
            for name, value in family.items():
                fields[prefix + name] = value
    if command.content_type:
        fields[Client.CONTENT_TYPE] = command.content_type
    if command.delete_at is not None:
        fields[Client.DELETE_AT] = str(command.delete_at)
    if command.version:
        fields[Backend.VERSION_ID] = command.version
    return fields


def write_headers(
    command: PutObject | PostObject | DeleteObject,
    fields: Headers,
    placement: Placement,
    container: Placement,
    queue: Placement | None = None,
) -> list[Headers]:
    """For each node the headers of a write, and which servers of the container and of the expiry queue it informs."""
    fields[Client.TRANS_ID] = command.transaction_id
    fields[Backend.POLICY_INDEX] = str(command.policy_index)
    fields[Client.TIMESTAMP] = command.timestamp.internal
    if command.conditions is not None:
        fields |= write_condition_headers(command.conditions)
    if queue is not None:
        fields[Backend.DELETE_AT_CONTAINER] = queue.path.container
    each = [fields.copy() for _ in placement.primaries]
    add_updates(each, container, TO_CONTAINER)
    if queue is not None:
        add_updates(each, queue, TO_QUEUE)
    return each


def proof(etag: str, checksum: str) -> Headers:
    """Checksums of a piece: headers ahead of a small body, trailers after a large one."""
    return {Client.ETAG: etag, Backend.BODY_CHECKSUM: checksum}


def update_count(writers: int, servers: int) -> int:
    """How many updates to send, so that any quorum of `writers` reaches a quorum of `servers`, and all reach all.

    Each writer sends one at least: what it alone has stored is listed, too.
    """
    return max(quorum_size(servers) + writers - quorum_size(writers), servers, writers)


def spread(count: int, writers: int) -> list[list[int]]:
    """For each of the writers the numbers of the updates it sends, of `count` in all, in turn."""
    return [list(range(writer, count, writers)) for writer in range(writers)]


def add_updates(headers: Sequence[Headers], placement: Placement, names: UpdateHeaders) -> None:
    """Name in each node's headers the servers it informs of the write: the nodes share those of `placement`."""
    servers = placement.primaries
    partition = str(placement.partition)
    writers, count = len(headers), len(servers)
    if writers == count:  # the usual case: each informs one
        for each, server in zip(headers, servers, strict=True):
            each[names.host] = server.address
            each[names.device] = server.device
            each[names.partition] = partition
        return
    for each, numbers in zip(headers, spread(update_count(writers, count), writers), strict=True):
        informed = [servers[number] for number in dict.fromkeys(number % count for number in numbers)]
        if informed:
            each[names.host] = ",".join(server.address for server in informed)
            each[names.device] = ",".join(server.device for server in informed)
            each[names.partition] = partition


def merge_update_headers(orphans: Sequence[Mapping[str, str]]) -> Headers:
    """The headers of one update request that covers every server which the nodes with `orphans` would have informed.

    Empty if they would have informed none.
    """
    joined = {name: ",".join(each[name] for each in orphans if each.get(name)) for name in _LISTS}
    shared = {name: each[name] for each in orphans for name in _SHARED if name in each}
    if mode := shared.pop(Backend.VERSION_MODE, ""):  # the row is that of the line written, whatever is current by now
        shared.setdefault(Backend.VERSION_ID, orphans[0][Client.TIMESTAMP] if mode == "keep" else "null")
    merged = {name: value for name, value in (joined | shared).items() if value}
    return merged if TO_CONTAINER.host in merged else {}


def put_outcome(command: PutObject, result: QuorumResult) -> bool:
    """Whether the nodes have stored the object; False if newer data stands in its way. Raises CoreError."""
    statuses, quorum = result.statuses, result.quorum
    stored = sum(status <= codes.SUCCESS_MAX for status in statuses)
    if stored >= quorum:
        return True
    conditions = command.conditions
    if conditions is not None and conditions.if_absent and codes.PRECONDITION_FAILED in statuses:
        raise errors.PreconditionFailed  # one that has the object suffices: others may have missed it
    newer = statuses.count(codes.CONFLICT)
    if command.version_mode and newer and result.header(codes.CONFLICT, Backend.VERSIONS_FULL) is not None:
        raise errors.TooManyVersions(command.path)
    if newer and stored + newer >= quorum:
        return False
    # Too few that know of newer data, or none: a conflict is nothing the client could mend, so it has no vote.
    status = best_status([status for status in statuses if status != codes.CONFLICT], quorum)
    raise ObjectTooLarge(command.length_max) if status == codes.TOO_LARGE else _error(command, status)


def post_outcome(command: PostObject, result: QuorumResult) -> Headers:
    """The system metadata that makes a link, which servers send back.

    Raises CoreError unless a quorum has stored the metadata, or has them or something newer in part.
    """
    statuses = result.statuses
    status = best_status(statuses, result.quorum, {codes.CONFLICT: codes.ACCEPTED})
    if status <= codes.SUCCESS_MAX:
        return link_fields(result)
    some = status == codes.NOT_FOUND and min(statuses) <= codes.SUCCESS_MAX
    if some and not result.header(codes.NOT_FOUND, Backend.TIMESTAMP):
        # It is there, though most of those asked have not got it, nor know of a deletion.
        raise errors.QuorumNotReached(command.path)
    raise _error(command, status)


def link_fields(result: QuorumResult) -> Headers:
    """What the nodes that have taken a POST send back of a link."""
    names = (Sysmeta.LINK_TARGET, Sysmeta.LINK_ETAG)
    return {name[len(SYSTEM) :]: value for name in names if (value := result.header(codes.ACCEPTED, name))}


def delete_outcome(command: DeleteObject, result: QuorumResult) -> None:
    """Raises CoreError unless the object is deleted: also by a mix of both successes and absences."""
    status = best_status(result.statuses, result.quorum, {codes.NOT_FOUND: codes.DELETED})
    if status == codes.CONFLICT and result.header(status, Backend.VERSIONS_FULL) is not None:
        raise errors.TooManyVersions(command.path)
    if status == codes.NOT_FOUND:
        raise nothing_deleted(command, command.timestamp)
    if status > codes.SUCCESS_MAX:
        raise _error(command, status)


def nothing_deleted(command: DeleteObject, timestamp: Timestamp) -> errors.ObjectNotFound:
    """The object was not there when it was deleted; the delete marker that is kept says so."""
    version = timestamp.internal if command.version_mode == "keep" else ""
    return errors.ObjectNotFound(command.path, timestamp.internal, bool(version), version)


def _error(command: PutObject | PostObject | DeleteObject, status: int) -> errors.CoreError:
    path = command.path
    if status == codes.NOT_FOUND:
        return errors.ObjectNotFound(path)
    if status == codes.FORBIDDEN:
        return errors.ObjectLocked(path)
    if status == codes.CONFLICT:
        return errors.NewerStored(path)
    if status == codes.PRECONDITION_FAILED:
        return errors.PreconditionFailed()
    if status == codes.CHECKSUM_MISMATCH:
        return errors.ChecksumMismatch("", "")
    if status == codes.INVALID:
        return errors.WriteRefused(path)
    return errors.QuorumNotReached(path)


def read_error(command: GetObject, response: BackendResponse) -> errors.CoreError:
    """The error that an answer without the object stands for."""
    status, headers = response.status, response.headers
    if status == codes.NOT_FOUND:
        is_marker, version = Backend.DELETE_MARKER in headers, headers.get(Backend.VERSION_ID, "")
        return errors.ObjectNotFound(command.path, headers.get(Backend.TIMESTAMP, ""), is_marker, version)
    if status not in codes.CONDITION_ANSWERS:
        return errors.QuorumNotReached(command.path)
    if status == codes.NOT_MODIFIED:
        return errors.NotModified(object_info(headers))
    size = None
    if Client.CONTENT_RANGE in headers:
        size = int(headers[Client.CONTENT_RANGE].rpartition("/")[2])
    facts = errors.ObjectFacts(
        headers.get(Client.ETAG, ""), headers.get(Client.TIMESTAMP, ""), headers.get(Client.LAST_MODIFIED, ""), size
    )
    return errors.InvalidRange(facts) if status == codes.INVALID_RANGE else errors.PreconditionFailed(facts)


def object_info(headers: Mapping[str, str]) -> StoredObjectInfo:
    """What a good answer says of the object."""
    user: Headers = {}
    system: Headers = {}
    transient: Headers = {}
    given: Headers = {}
    for name, value in headers.items():
        if name in _NOT_METADATA:
            continue
        if name.startswith(META):
            user[name[len(META) :]] = value
        elif name.startswith(SYSTEM):
            system[name[len(SYSTEM) :]] = value
        elif name.startswith(TRANSIENT):
            transient[name[len(TRANSIENT) :]] = value
        elif not name.startswith(Backend.PREFIX):
            given[name] = value
    delete_at = headers.get(Client.DELETE_AT)
    size = headers.get(Client.CONTENT_LENGTH)
    part = headers.get(Client.CONTENT_RANGE)
    return StoredObjectInfo(
        size=int(size or 0) if part is None else int(part.rpartition("/")[2]),
        etag=headers.get(Client.ETAG, ""),
        content_type=headers.get(Client.CONTENT_TYPE, ""),
        timestamp=headers.get(Client.TIMESTAMP, ""),
        last_modified=headers.get(Client.LAST_MODIFIED, ""),
        delete_at=None if delete_at is None else int(delete_at),
        metadata=StoredMetadata(user, system, transient, given)
        if user or system or transient or given
        else NO_METADATA,
        stands_for_others=bool(system or given) and not STANDS_FOR_OTHERS.isdisjoint(headers),
        version=headers.get(Backend.VERSION_ID, ""),
    )


def given_range(response: BackendResponse) -> ByteRange | None:
    """The range that a partial answer gives; None for a whole body, or a range that cannot be read."""
    if response.status != codes.PARTIAL:
        return None
    try:
        return parse_content_range(response.headers.get(Client.CONTENT_RANGE, ""))[0]
    except ValueError:
        return None


def identity(response: BackendResponse) -> tuple[str | None, str | None]:
    """A value that two answers share only if they are about the same bytes."""
    headers = response.headers
    # A POST changes the object's timestamp but not its data's.
    return headers.get(Client.ETAG), headers.get(Backend.DATA_TIMESTAMP) or headers.get(Client.TIMESTAMP)


def refusal_headers(response: BackendResponse) -> Headers:
    """Of an answer without the resource: when it was deleted, or that the account is, and by which marker."""
    kept = (Backend.TIMESTAMP, Client.ACCOUNT_STATUS, Backend.DELETE_MARKER, Backend.VERSION_ID)
    return {name: response.headers[name] for name in kept if name in response.headers}


def gone_stamp(response: BackendResponse) -> Stamp:
    """What a NOT_FOUND says is not there any more.

    A deletion has one timestamp, and what was written before is gone. Of what has expired the node tells both: by the
    clock of another one the same may still be there, but nothing older is.
    """
    newest = response.headers.get(Backend.TIMESTAMP, "")
    data = response.headers.get(Backend.DATA_TIMESTAMP)
    return (newest, "") if data is None else (data, newest)


def stamp_of(response: BackendResponse) -> Stamp:
    """How new an answer is: when its data was written, and when its metadata was.

    The data counts first: a POST may have reached a node that has older data, or has missed a deletion.
    """
    headers = response.headers
    newest = headers.get(Backend.TIMESTAMP) or headers.get(Client.TIMESTAMP, "")
    return headers.get(Backend.DATA_TIMESTAMP) or newest, newest
