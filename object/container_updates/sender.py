"""Container updates: every write of an object sends a row to the servers of its container, and queues what expires.

A row of the expiry queue says when to delete which object. It stays when the object is deleted, or gets another time of
expiry: the expirer's "delete if it expires at this time" is refused then, and the expirer drops the row.
"""

from typing import Final

from msgspec import Struct

from objstore.expiry import EXPIRY_ACCOUNT, queue_entry_name
from objstore.headers import Backend, Client, Sysmeta
from objstore.http.errors import HttpError
from objstore.http.messages import Request
from objstore.limits import text_of
from objstore.object.container_updates.batcher import Destination, PendingAcknowledgements, UpdateBatcher, destinations
from objstore.object.container_updates.pending import PendingUpdate, pending_path, save
from objstore.object.container_updates.session import WriterSession
from objstore.object.engine import ObjectInfo
from objstore.object.requests import Target, delete_at_of, parse_delete_at
from objstore.paths import PathHasher, ResourcePath
from objstore.rows import EMPTY_ETAG, ObjectRow
from objstore.system.threads import ThreadGroup

# The sizes of queue rows do not count: nothing is stored for them.
QUEUE_CONTENT_TYPE: Final = "text/plain"
DELETED_CONTENT_TYPE: Final = "application/deleted"
DELETED_ETAG: Final = "noetag"


class UpdateTargets(Struct, frozen=True, gc=False):
    """The servers that get rows about a write: those of the object's container (`listing`), and of the expiry `queue`.

    The queue is the one for objects that expire at `delete_at`, in seconds since the epoch; None without a queue.
    """

    listing: tuple[Destination, ...]
    queue: tuple[Destination, ...]
    delete_at: int | None


def update_targets_of(request: Request, target: Target) -> UpdateTargets:
    """Read the targets from a request's headers. Raises HttpError 400 when these contradict each other."""
    header = request.header
    listing: tuple[Destination, ...] = ()
    if hosts := header(Backend.CONTAINER_HOST):
        elsewhere = header(Backend.CONTAINER_PATH)
        container = _container_at(elsewhere) if elsewhere else target.path.container_path
        listing = destinations(hosts, header(Backend.CONTAINER_DEVICE), header(Backend.CONTAINER_PARTITION), container)
    queue: tuple[Destination, ...] = ()
    delete_at = None
    if name := header(Backend.DELETE_AT_CONTAINER):
        queue = destinations(
            header(Backend.DELETE_AT_HOST),
            header(Backend.DELETE_AT_DEVICE),
            header(Backend.DELETE_AT_PARTITION),
            ResourcePath(EXPIRY_ACCOUNT, text_of(name)),
        )
        delete_at = parse_delete_at(Client.DELETE_AT, header(Client.DELETE_AT, "") or "")
    return UpdateTargets(listing, queue, delete_at)


def _container_at(text: str) -> ResourcePath:
    try:
        path = ResourcePath.parse("/" + text_of(text, True).lstrip("/"))
    except ValueError:
        path = ResourcePath("?")
    if not path.is_container:
        raise HttpError(400, f"Invalid {Backend.CONTAINER_PATH}: {text!r}")
    return path


def object_row(target: Target, info: ObjectInfo) -> ObjectRow:
    """The row that lists the object in its container."""
    data = info.data
    size, etag, content_type, upload = data.size, data.etag, info.content_type, ""
    if data.sysmeta:
        etag = data.sysmeta.get(Sysmeta.LISTED_ETAG, etag)
        content_type = data.sysmeta.get(Sysmeta.LISTED_CONTENT_TYPE, content_type)
        if Sysmeta.COMPOSITE_SIZE in data.sysmeta and Sysmeta.LISTED_SIZE not in data.sysmeta:
            # A manifest counts with its own size, and is listed with that of what it makes.
            content_type = f"{content_type};swift_bytes={data.sysmeta[Sysmeta.COMPOSITE_SIZE]}"
        size = _listed_size(data.sysmeta.get(Sysmeta.LISTED_SIZE), size)
        upload = data.sysmeta.get(Sysmeta.UPLOAD, "")
    if not content_type.isascii():
        content_type = content_type.encode("latin-1").decode("utf-8", "replace")
    set_at, posted_at = info.content_type_timestamp, info.timestamp
    return ObjectRow(
        name=target.path.object,
        timestamp=data.timestamp,
        size=size,
        content_type=content_type,
        etag=etag,
        policy_index=target.location.policy.index,
        content_type_timestamp="" if set_at == data.timestamp else set_at,
        meta_timestamp="" if posted_at == data.timestamp else posted_at,
        version=info.version,
        upload=upload,
    )


def _listed_size(text: str | None, size: int) -> int:
    return int(text) if text is not None and text.isascii() and text.isdigit() else size


def tombstone_row(target: Target, timestamp: str, version: str = "", is_marker: bool = False) -> ObjectRow:
    """The row that deletes the plain line, or a version, from its container's listing; or that of a delete marker.

    A version is removed whatever the two times are, so the row must not be older than that of the version.
    """
    return ObjectRow(
        name=target.path.object,
        timestamp=max(timestamp, version),
        size=0,
        content_type=DELETED_CONTENT_TYPE,
        etag=DELETED_ETAG,
        deleted=not is_marker,
        policy_index=target.location.policy.index,
        version=version,
        marker=is_marker,
    )


def queue_row(target: Target, delete_at: int, info: ObjectInfo) -> ObjectRow:
    """The row by which the expirer deletes the object, or one kept version of it."""
    name, timestamp = queue_entry_name(delete_at, target.path, info.version), info.timestamp
    return ObjectRow(name, timestamp, 0, QUEUE_CONTENT_TYPE, EMPTY_ETAG)


class InFlightUpdates:
    """The rows of one write that are being sent; those that are not acknowledged are queued on the object's device."""

    __slots__ = ("_directory", "_sender", "_sent")

    def __init__(self, update_sender: "ContainerUpdateSender", directory: str) -> None:
        self._sender = update_sender
        self._directory = directory
        update_sender.session.unfinished += 1
        self._sent: list[tuple[ResourcePath, ObjectRow, PendingAcknowledgements]] = []

    def send(self, targets: tuple[Destination, ...], row: ObjectRow) -> None:
        if targets:
            self._sent.append((targets[0].container, row, self._sender.updates.start(targets, row)))

    def wait(self) -> bool:
        """Return when every row is acknowledged by its servers (True), or durably queued. Raises OSError."""
        acknowledged = True
        for container, row, answers in self._sent:
            if not answers.all_acknowledged():
                acknowledged = False
                update = PendingUpdate(container.account, container.container, row)
                path = pending_path(self._directory, self._sender.hasher, update)
                self._sender.threads.of(self._directory.rpartition("/")[0]).call(save, path, update)
        self._sender.session.unfinished -= 1
        return acknowledged

    def acknowledgement(self) -> dict[str, str]:
        """As `wait`: the headers of an answer that says so."""
        return {} if self.wait() else {Backend.UPDATE_QUEUED: "true"}


class ContainerUpdateSender(Struct, frozen=True):
    """Sends container updates; one for a whole process."""

    hasher: PathHasher
    updates: UpdateBatcher
    threads: ThreadGroup
    session: WriterSession

    def stored(self, target: Target, update_targets: UpdateTargets, info: ObjectInfo) -> InFlightUpdates:
        """Begin to send the row of an object that was written or got new metadata, without waiting."""
        in_flight = self._in_flight(target)
        in_flight.send(update_targets.listing, object_row(target, info))
        delete_at = delete_at_of(info.headers)
        # A later POST may have changed the time, and sent a row to the queue of the other time.
        if delete_at is not None and delete_at == update_targets.delete_at:
            in_flight.send(update_targets.queue, queue_row(target, delete_at, info))
        return in_flight

    def deleted(
        self, target: Target, update_targets: UpdateTargets, timestamp: str, version: str = "", is_marker: bool = False
    ) -> InFlightUpdates:
        """Begin to send the row of a tombstone, removal mark or delete marker, without waiting."""
        in_flight = self._in_flight(target)
        in_flight.send(update_targets.listing, tombstone_row(target, timestamp, version, is_marker))
        return in_flight

    def _in_flight(self, target: Target) -> InFlightUpdates:
        return InFlightUpdates(self, f"{target.storage.path}/{target.location.policy.async_dir}")
