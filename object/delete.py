"""DELETE: mark an object as deleted."""

from objstore.headers import Backend, Client
from objstore.http.messages import Request, Response
from objstore.object.container_updates.sender import update_targets_of
from objstore.object.engine import AlreadyStored, StoredObject
from objstore.object.metadata import TombstoneMetadata
from objstore.object.requests import delete_at_of, parse_delete_at, timestamp_of
from objstore.object.responses import conflict, not_found, plain
from objstore.object.service import ObjectService


def delete_object(service: ObjectService, request: Request) -> Response:
    """204 when there was an object, 404 when not; the tombstone is written in both cases.

    409 when something as new is stored. With X-If-Delete-At nothing is written unless the object expires exactly then:
    404 when there is no object, 412 when it does not.
    """
    target = service.target(request)
    timestamp = timestamp_of(request)
    update_targets = update_targets_of(request, target)
    guard = request.header(Client.IF_DELETE_AT)
    expected = None if guard is None else parse_delete_at(Client.IF_DELETE_AT, guard)
    current, stored = target.storage.examine(target.location)
    was_live = False
    if stored is not None:
        stored.close()
        was_live = not service.expired(stored)
    if expected is not None and (refusal := _guarded(stored, expected, current.timestamp)):
        return refusal
    if current.timestamp >= timestamp:
        return conflict(current.timestamp)

    tombstone = TombstoneMetadata(target.location.name, timestamp)
    try:
        pending_commit = target.storage.write_tombstone(target.location, current, tombstone)
    except AlreadyStored:
        return conflict(timestamp)
    in_flight = service.update_sender.deleted(target, update_targets, timestamp)
    service.make_durable(target, pending_commit)
    in_flight.wait()
    if was_live or expected is not None:
        return Response(204, {Backend.TIMESTAMP: timestamp})
    return not_found(timestamp)


def _guarded(stored: StoredObject | None, expected: int, stored_at: str) -> Response | None:
    """The refusal, unless the object expires when the expirer thinks."""
    if stored is None:
        return not_found(stored_at)
    if delete_at_of(stored.info.headers) != expected:
        return plain(412, "The object does not expire then", stored_at)
    return None
